#!lua flags=allow-oom
-- Hands out messages that others sent, as many as there are up to `most`, each to one for `hold_s`. They stay in Redis
-- under a tag, its number and queue, until somebody lets go of them; where nobody does, they are handed out again, each
-- alone, with how often that was: they may be what their holder died of.
-- While Redis is full only `few`, and at `last_share` nothing; without these shares it is not asked how full it is.
-- Answers what is handed out, and those of the lists that are none.
-- Repeating it, under the same token, hands out the same ones.
local MOST_LAPSED, LOOKED_AT = 10000, 100  -- tags that are looked at for one of these queues: in all, and at a time
local COUNTED_S = 24 * 3600  -- from the last time that it was handed out again

local taken = key.taken(args.token)
local tags = cjson.decode(redis.call('GET', taken) or '[]')
local until_s = seconds(now() + args.hold_s)
local wrong = {}

-- The queue of a list, or of a tag.
local function queue_in(name)
  return string.match(name, '^[^\6]*')
end

-- A message of one of these queues that nobody has in hand any more: who serves others may not know what it asks for.
local function lapsed()
  local own = {}
  for _, list in ipairs(args.lists) do own[queue_in(list)] = true end
  for from = 0, MOST_LAPSED - 1, LOOKED_AT do
    local found = redis.call('ZRANGEBYSCORE', key.held_until, '-inf', seconds(now()), 'LIMIT', from, LOOKED_AT)
    for _, tag in ipairs(found) do
      if own[string.match(tag, ' (.*)$')] then return tag end
    end
    if #found < LOOKED_AT then return nil end
  end
end

-- Keeps what was taken out of a list before anything else is done.
local function keep(list, messages)
  local held, holds = {}, {}
  for _, message in ipairs(messages) do
    local tag = args.token .. ':' .. #tags .. ' ' .. queue_in(list)
    tags[#tags + 1] = tag
    held[#held + 1], held[#held + 2] = tag, list .. '\n' .. message
    holds[#holds + 1], holds[#holds + 2] = until_s, tag
  end
  redis.call('HSET', key.held, unpack(held))
  redis.call('ZADD', key.held_until, unpack(holds))
end

-- Takes those out of the lists, from one on, that are none: what else has such a name is not ours to read.
local function pass_over(lists, from)
  for at = #lists, from, -1 do
    local kind = redis.call('TYPE', lists[at]).ok
    if kind ~= 'list' and kind ~= 'none' then wrong[#wrong + 1] = table.remove(lists, at) end
  end
end

-- Takes messages out of the lists, the first list first, `share` from each at most. Answers which of them may have more.
local function pop(lists, share, most)
  local more, from = {}, 1
  while #tags < most and from <= #lists do
    local command = {#lists - from + 1}
    for at = from, #lists do command[#command + 1] = lists[at] end
    command[#command + 1], command[#command + 2], command[#command + 3] = 'RIGHT', 'COUNT', math.min(share, most - #tags)
    local answer = redis.pcall('LMPOP', unpack(command))
    if not answer then break end
    if answer.err then
      local before = #lists
      pass_over(lists, from)
      if #lists == before then error(answer.err) end
    else
      local list, messages = unpack(answer)
      keep(list, messages)
      if #messages == share then more[#more + 1] = list end
      while lists[from] ~= list do from = from + 1 end
      from = from + 1
    end
  end
  return more
end

local function how_many()
  if args.full_share and is_full(args.full_share) then return is_full(args.last_share) and 0 or args.few end
  return args.most
end

-- A part of the bunch is for all lists alike, or one that is filled as fast as it is emptied would have the others wait
-- for ever. The rest goes to the first.
local function fill(most)
  local share = math.max(1, math.floor(most / (2 * #args.lists)))
  local more = pop(args.lists, share, most)
  pop(more, most, most)
end

if #tags == 0 then
  local most = how_many()
  local again = most > 0 and lapsed()
  if again then
    tags = {again}
    redis.call('ZADD', key.held_until, until_s, again)
    redis.call('INCR', key.takings(again))
    redis.call('EXPIRE', key.takings(again), COUNTED_S)
  elseif most > 0 then
    fill(most)
  end
  if #tags > 0 then redis.call('SET', taken, cjson.encode(tags), 'EX', args.hold_s) end
end

local found = {}
for at, held in ipairs(#tags > 0 and redis.call('HMGET', key.held, unpack(tags)) or {}) do
  local tag = tags[at]
  local is_new = string.sub(tag, 1, #args.token + 1) == args.token .. ':'
  if held then
    found[#found + 1] = {tag, held, 1 + (is_new and 0 or tonumber(redis.call('GET', key.takings(tag)) or 0))}
  else
    redis.call('ZREM', key.held_until, tag)
  end
end
return {found, wrong}
