#!lua flags=no-writes
-- About how many jobs of a queue, of all callers, would be taken before one that this caller submitted now, and the
-- queue's pace; as `place` reckons for one that is there.
local queue, caller, rank = ARGV[1], ARGV[2], tonumber(ARGV[3])
local line, waiting = key('line', queue), key('waiting', queue, caller)
local own = redis.call('ZCOUNT', waiting, '-inf', '(' .. ranked(rank + 1, 0))
local share = redis.call('ZCARD', line) / math.max(1, redis.call('SCARD', key('window', queue, caller)))
local before = redis.call('ZCOUNT', line, '-inf', '(' .. ranked(rank + 1, 0)) + math.floor(own * math.max(1, share))
local ended, busy_s, last = unpack(redis.call('HMGET', key('pace', queue), 'ended', 'busy_s', 'last'))
return {before, redis.call('SISMEMBER', key('paused'), queue), ended or '', busy_s or '', last or '', seconds(now())}
