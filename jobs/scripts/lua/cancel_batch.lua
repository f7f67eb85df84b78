#!lua flags=allow-oom
-- Let no more jobs into a batch. Those that it has are canceled one by one.
local record = key.batch(args.batch_id)
if redis.call('EXISTS', record) == 0 then return 'missing' end
redis.call('HSET', record, 'is_closed', 1)
return 'done'
