#!lua flags=allow-oom
-- Record a job that failed before it could be queued: a message from outside with a wrong request.
local id = args.job_id
if args.tag then let_go(args.tag) end
if redis.call('EXISTS', key.job(id)) == 1 then
  if args.tells then note_wants(id, args.tells) end
  return {'known'}
end
note_refused(args.queue)
redis.call('HSET', key.job(id), 'request', args.request, 'schema', SCHEMA_VERSION, 'queue', args.queue,
  'caller', args.caller, 'origin', 'celery', 'created_at', seconds(now()))
if args.tells then note_wants(id, args.tells) end
enlist(id, args.caller, next_number())
conclude(id, 'failed', {'error', args.error}, args.error_code)
return {'rejected'}
