#!lua flags=allow-oom
-- Hands out messages that others sent, as many as there are up to `most`, each to one for `hold_s`. They stay in Redis
-- under a tag, its number and queue, until somebody lets go of them; where nobody does, they are handed out again.
-- Nothing while Redis is full: no job could be made of them.
-- Repeating it, under the same token, hands out the same ones.
local taken = key.taken(args.token)
local tags = redis.call('LRANGE', taken, 0, -1)

if #tags == 0 and not is_full(args.full_share) then
  local time = now()
  tags = redis.call('ZRANGEBYSCORE', key.held_until, '-inf', seconds(time), 'LIMIT', 0, args.most)
  for _, list in ipairs(args.lists) do
    while #tags < args.most do
      local message = redis.call('RPOP', list)
      if not message then break end
      local tag = string.format('%.0f ', next_number()) .. string.match(list, '^[^\6]*')
      redis.call('HSET', key.held, tag, list .. '\n' .. message)
      tags[#tags + 1] = tag
    end
  end
  for _, tag in ipairs(tags) do
    redis.call('ZADD', key.held_until, seconds(time + args.hold_s), tag)
    redis.call('RPUSH', taken, tag)
  end
  if #tags > 0 then redis.call('EXPIRE', taken, args.hold_s) end
end

local found = {}
for _, tag in ipairs(tags) do
  local held = redis.call('HGET', key.held, tag)
  if held then
    found[#found + 1] = {tag, held}
  else
    redis.call('ZREM', key.held_until, tag)
  end
end
return found
