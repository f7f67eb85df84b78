#!lua flags=allow-oom
-- Stop or start handing out jobs of a queue. Starting again releases what there is room for.
local queue = args.queue
redis.call('HDEL', key.pace(queue), 'last')  -- No time counts for its pace in which it is paused.
if args.is_paused then
  redis.call('SADD', key.paused, queue)
  look_anew(queue)
  return {}
end
redis.call('SREM', key.paused, queue)
look_anew(queue)
local released = release(queue)
if is_older_in_charge() then
  for _, caller in ipairs(redis.call('SMEMBERS', key.callers(queue))) do
    for _, id in ipairs(release_of(queue, caller)) do released[#released + 1] = id end
  end
end
return released
