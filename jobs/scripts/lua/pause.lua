#!lua flags=allow-oom
-- Stop or start handing out jobs of a queue. Starting again releases what the callers' windows allow.
local queue = args.queue
if args.is_paused then
  redis.call('SADD', key.paused, queue)
  redis.call('HDEL', key.pace(queue), 'last')
  return {}
end
redis.call('SREM', key.paused, queue)
local released = {}
for _, caller in ipairs(redis.call('SMEMBERS', key.callers(queue))) do
  for _, id in ipairs(release(queue, caller)) do released[#released + 1] = id end
end
return released
