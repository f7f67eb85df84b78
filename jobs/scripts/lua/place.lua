#!lua flags=no-writes
-- About how many jobs of its queue, of all callers, are taken before a queued job, and the queue's pace.
local id = args.job_id
local status, queue, caller, turn = unpack(redis.call('HMGET', key.job(id), 'status', 'queue', 'caller', 'turn'))
if status ~= 'queued' then return {} end
return with_pace(queue, jobs_before(queue, caller, turn, redis.call('ZRANK', key.line(queue), id)))
