#!lua flags=allow-oom
-- Hands out due notifications of one protocol, each to one notifier for as long as its lease holds.
-- Repeating it, under the same token, hands out the same ones.
local outbox, notifiers, taken = key.outbox(args.protocol), key.notifiers(args.protocol), key.taken(args.token)
local ids = cjson.decode(redis.call('GET', taken) or '[]')
if #ids == 0 then
  local time = now()
  ids = redis.call('ZRANGEBYSCORE', outbox, '-inf', seconds(time), 'LIMIT', 0, args.most)
  if #ids == 0 then return {} end
  local leases, holders, until_s = {}, {}, seconds(time + args.lease_s)
  for at, id in ipairs(ids) do
    leases[2 * at - 1], leases[2 * at] = until_s, id
    holders[2 * at - 1], holders[2 * at] = id, args.token
  end
  redis.call('ZADD', outbox, unpack(leases))
  redis.call('HSET', notifiers, unpack(holders))
  redis.call('SET', taken, cjson.encode(ids), 'EX', args.lease_s)
end
local tries = redis.call('HMGET', key.tries(args.protocol), unpack(ids))
local found = {}
for at, id in ipairs(ids) do
  local fields = redis.call('HGETALL', key.job(id))
  if #fields == 0 then
    if redis.call('ZREM', outbox, id) == 1 then redis.call('HINCRBY', key.notifications(args.protocol), 'given_up', 1) end
    redis.call('HDEL', notifiers, id)
    forget_tries(args.protocol, id)
  else
    found[#found + 1] = {id, tonumber(tries[at] or 0), fields}
  end
end
return found
