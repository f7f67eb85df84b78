#!lua flags=allow-oom
-- Hands out ends that are due to be told by one protocol, each to one teller for as long as its lease holds.
-- Repeating it, under the same token, hands out the same ones.
local outbox, taken = key.outbox(args.protocol), key.taken(args.token)
local ids = redis.call('LRANGE', taken, 0, -1)
if #ids == 0 then
  local time = now()
  ids = redis.call('ZRANGEBYSCORE', outbox, '-inf', seconds(time), 'LIMIT', 0, args.most)
  for _, id in ipairs(ids) do
    redis.call('ZADD', outbox, seconds(time + args.lease_s), id)
    redis.call('HSET', key.tellers(args.protocol), id, args.token)
    redis.call('RPUSH', taken, id)
  end
  if #ids > 0 then redis.call('EXPIRE', taken, args.lease_s) end
end
local found = {}
for _, id in ipairs(ids) do
  local fields = redis.call('HGETALL', key.job(id))
  if #fields == 0 then
    redis.call('ZREM', outbox, id)
    redis.call('HDEL', key.tellers(args.protocol), id)
    forget_tries(args.protocol, id)
  else
    found[#found + 1] = {id, tonumber(redis.call('HGET', key.tries(args.protocol), id) or 0), fields}
  end
end
return found
