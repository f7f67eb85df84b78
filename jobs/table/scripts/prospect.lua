#!lua flags=no-writes
-- About how many jobs of a queue, of all callers, would be taken before one that this caller submitted now, and the
-- queue's pace; as `place` reckons for one that is there.
local queue, caller, rank, window = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local is_room = redis.call('ZCARD', key('waiting', queue, caller)) == 0
  and redis.call('ZCARD', key('turns', queue, caller)) < window
local at = is_room and redis.call('ZCARD', key('line', queue))
local before = jobs_before(queue, caller, ranked(rank, RANK - 1), at)
local ended, busy_s, last = unpack(redis.call('HMGET', key('pace', queue), 'ended', 'busy_s', 'last'))
return {before, redis.call('SISMEMBER', key('paused'), queue), ended or '', busy_s or '', last or '', seconds(now())}
