#!lua flags=no-writes
-- About how many jobs of its queue, of all callers, are taken before a queued job, and the queue's pace; nothing of a job
-- that is not to begin yet.
local id = args.job_id
local status, queue, caller, turn, not_before = unpack(redis.call('HMGET', key.job(id), 'status', 'queue', 'caller', 'turn',
  'not_before'))
if status ~= 'queued' or (not_before and not is_past(not_before)) then return {} end
return with_pace(queue, jobs_before(queue, caller, turn, redis.call('ZRANK', key.line(queue), id)))
