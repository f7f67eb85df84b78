#!lua flags=allow-oom
-- Hands out deleted jobs that are due to be looked for, each to one process for `hold_s`: id, until when it has it, and
-- what is noted of it.
-- Repeating it, under the same token, hands out the same ones.
local taken, found = key.taken(args.token), {}
local kept = redis.call('GET', taken)
local ids = kept and cjson.decode(kept) or {until_s = seconds(now() + args.hold_s)}
if not kept then
  ids.ids = redis.call('ZRANGEBYSCORE', key.deletions, '-inf', seconds(now()), 'LIMIT', 0, args.most)
  if #ids.ids == 0 then return {} end
  for _, id in ipairs(ids.ids) do redis.call('ZADD', key.deletions, ids.until_s, id) end
  redis.call('SET', taken, cjson.encode(ids), 'EX', math.ceil(args.hold_s))
end
for _, id in ipairs(ids.ids) do
  local note = redis.call('HGET', key.deletion_notes, id)
  if note then
    found[#found + 1] = {id, ids.until_s, note}
  else
    redis.call('ZREM', key.deletions, id)
  end
end
return found
