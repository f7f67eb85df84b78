#!lua flags=allow-oom
-- Hands out messages that others sent, as many as there are up to `most`, each to one for `hold_s`. They stay in Redis
-- under a tag, its number and queue, until somebody lets go of them; where nobody does, they are handed out again.
-- Nothing while Redis is full: no job could be made of them.
-- Repeating it, under the same token, hands out the same ones.
local taken = key.taken(args.token)
local tags = cjson.decode(redis.call('GET', taken) or '[]')

-- Takes more messages out of the lists, the first list first, and keeps each under a new tag.
local function pop()
  local asked = {#args.lists}
  for _, each in ipairs(args.lists) do asked[#asked + 1] = each end
  local held = {}
  while #tags < args.most do
    asked[#args.lists + 2], asked[#args.lists + 3], asked[#args.lists + 4] = 'RIGHT', 'COUNT', args.most - #tags
    local list, messages = unpack(redis.call('LMPOP', unpack(asked)) or {})
    if not list then break end
    for _, message in ipairs(messages) do
      local tag = args.token .. ':' .. #tags .. ' ' .. string.match(list, '^[^\6]*')
      tags[#tags + 1] = tag
      held[#held + 1], held[#held + 2] = tag, list .. '\n' .. message
    end
  end
  if #held > 0 then redis.call('HSET', key.held, unpack(held)) end
end

if #tags == 0 and not is_full(args.full_share) then
  local time = now()
  tags = redis.call('ZRANGEBYSCORE', key.held_until, '-inf', seconds(time), 'LIMIT', 0, args.most)
  pop()
  local until_s, holds = seconds(time + args.hold_s), {}
  for _, tag in ipairs(tags) do holds[#holds + 1], holds[#holds + 2] = until_s, tag end
  if #tags > 0 then
    redis.call('ZADD', key.held_until, unpack(holds))
    redis.call('SET', taken, cjson.encode(tags), 'EX', args.hold_s)
  end
end

local found = {}
for at, held in ipairs(#tags > 0 and redis.call('HMGET', key.held, unpack(tags)) or {}) do
  if held then
    found[#found + 1] = {tags[at], held}
  else
    redis.call('ZREM', key.held_until, tags[at])
  end
end
return found
