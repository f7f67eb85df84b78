#!lua flags=allow-oom
-- Record a job that ended before it could be queued: a message from outside with a wrong request, which has failed, or
-- with `status` one that was canceled. Of such a one nothing is kept but that: there may be many, and Redis full of them.
local id = args.job_id
if args.tag then let_go(args.tag) end
if redis.call('EXISTS', key.job(id)) == 1 then
  if args.notifications then note_wants(id, args.notifications) end
  return {'known'}
end
if not args.status then note_refused(args.queue) end
local units = units_of(KEPT_BESIDE + #ARGV[1])
take_room(args.caller, units, args.max_kept, true)
redis.call('HSET', key.job(id), 'request', args.request or '{}', 'schema', SCHEMA_VERSION, 'queue', args.queue,
  'caller', args.caller, 'kept', units, 'origin', 'celery', 'created_at', seconds(now()))
if args.notifications then note_wants(id, args.notifications) end
enlist(id, args.caller, next_number())
conclude(id, args.status or 'failed', args.error and {'error', args.error} or {}, args.error_code)
return {'rejected'}
