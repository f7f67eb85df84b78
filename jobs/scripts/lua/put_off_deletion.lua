#!lua flags=allow-oom
-- A deleted job could not be looked for: it is due again after a while, unless somebody wants that earlier.
local held = redis.call('ZSCORE', key.deletions, args.job_id)
if held and tonumber(held) == tonumber(args.held_until) then
  redis.call('ZADD', key.deletions, seconds(now() + args.after_s), args.job_id)
end
return 'done'
