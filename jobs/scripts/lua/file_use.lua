-- A job is about to be submitted that needs a file: until it has ended, the file stays. Answers whether there is the file.
-- In passing, one or two that have ended are taken off, so that there are never many more than go on.
if not file_record(args.id) then return 0 end
forget_file_jobs(args.id, 2)
redis.call('ZADD', key.file_jobs(args.id), seconds(now()), args.job_id)
return 1
