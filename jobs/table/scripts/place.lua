#!lua flags=no-writes
-- About how many jobs of its queue, of all callers, are taken before a queued job, and the queue's pace.
local id = ARGV[1]
local status, queue, caller, turn = unpack(redis.call('HMGET', key('job', id), 'status', 'queue', 'caller', 'turn'))
if status ~= 'queued' then return {} end
local before = jobs_before(queue, caller, turn, redis.call('ZRANK', key('line', queue), id))
local ended, busy_s, last = unpack(redis.call('HMGET', key('pace', queue), 'ended', 'busy_s', 'last'))
return {before, redis.call('SISMEMBER', key('paused'), queue), ended or '', busy_s or '', last or '', seconds(now())}
