-- A job is about to be submitted that needs a file: until it has ended, the file stays, and for
-- `kept_s` at the least. Answers whether there is the file.
-- In passing, one or two that have ended are taken off, so that there are never many more than go on.
local is = file_record(args.id)
if not is then return 0 end
if args.kept_s > 0 then renew_file(args.id, is, seconds(now() + args.kept_s)) end
forget_file_jobs(args.id, 2)
redis.call('ZADD', key.file_jobs(args.id), seconds(now()), args.job_id)
return 1
