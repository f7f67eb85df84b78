#!lua flags=allow-oom
-- An attempt that lost its job, but is alive and well: it was not the job that ended it. Where the result is deleted, it
-- may have stored something since.
if redis.call('EXISTS', key.job(args.job_id)) == 1 then refund(args.job_id, args.token) end
look_again(args.job_id)
return 'done'
