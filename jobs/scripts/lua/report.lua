#!lua flags=allow-oom
-- What a worker says of itself, until it says so again.
redis.call('SET', key.worker(args.name), args.report, 'EX', args.expiry_s)
redis.call('SADD', key.workers, args.name)
return 'done'
