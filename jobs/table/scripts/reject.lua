#!lua flags=allow-oom
-- Record a job that failed before it could be queued: a message from outside with a wrong request.
local id, request, schema, queue, caller, error, retention = unpack(ARGV)
if redis.call('EXISTS', key('job', id)) == 1 then return {'known'} end
redis.call('HSET', key('job', id), 'request', request, 'schema', schema, 'queue', queue, 'caller', caller,
  'origin', 'celery', 'created_at', seconds(now()))
enlist(id, caller, next_number())
conclude(id, 'failed', {'error', error}, retention)
return {'rejected'}
