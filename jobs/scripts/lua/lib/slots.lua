-- How many jobs a queue's workers take at a time, as they report it, and whether it is paused: what is asked of a queue
-- again and again, and changes seldom.

local LOOKED_MS = 1000  -- so long what was found is good, unless something changes

-- Whoever changes something of a queue has it looked at anew. Processes of the version before look for the sum of slots.
local function look_anew(queue)
  redis.call('DEL', key.state(queue), key.capacity(queue))
end

-- Counts a worker's slots for a queue until its report expires. Its next report replaces it.
local function note_slots(queue, name, slots, expiry_s)
  local before = redis.call('HGET', key.slots(queue), name)
  redis.call('HSET', key.slots(queue), name, slots .. ' ' .. seconds(now() + expiry_s))
  redis.call('EXPIRE', key.slots(queue), expiry_s)
  if not before or string.match(before, '^%d+') ~= tostring(slots) then look_anew(queue) end
end

-- Slots of a queue's living workers.
local function sum_slots(queue)
  local sum, time, workers = 0, now(), redis.call('HKEYS', key.slots(queue))
  for at, said in ipairs(redis.call('HVALS', key.slots(queue))) do
    local slots, until_s = string.match(said, '^(%d+) (%S+)$')
    if tonumber(until_s) > time then
      sum = sum + tonumber(slots)
    else
      redis.call('HDEL', key.slots(queue), workers[at])
    end
  end
  return sum
end

-- Who puts things right comes along with what is known of a queue, for the next caller.
local holders, states = {}, {}

-- A queue's slots, and whether it is paused.
local function state_of(queue)
  if states[queue] then return unpack(states[queue]) end
  local known, holder = unpack(redis.call('MGET', key.state(queue), key.reconciler))
  holders[1] = holder
  if not known then
    known = string.format('%.0f %d', sum_slots(queue), redis.call('SISMEMBER', key.paused, queue))
    redis.call('SET', key.state(queue), known, 'PX', LOOKED_MS)
  end
  local slots, paused = string.match(known, '^(%d+) (%d)$')
  states[queue] = {tonumber(slots), paused == '1'}
  return unpack(states[queue])
end

local function is_paused(queue)
  local _, paused = state_of(queue)
  return paused
end
