-- How many jobs a queue's workers take at a time, as they report it.

local SUMMED_MS = 1000  -- so long a sum of slots is good

-- Counts a worker's slots for a queue until its report expires. Its next report replaces it.
local function note_slots(queue, name, slots, expiry_s)
  local before = redis.call('HGET', key.slots(queue), name)
  redis.call('HSET', key.slots(queue), name, slots .. ' ' .. seconds(now() + expiry_s))
  redis.call('EXPIRE', key.slots(queue), expiry_s)
  if not before or string.match(before, '^%d+') ~= tostring(slots) then redis.call('DEL', key.capacity(queue)) end
end

-- Slots of a queue's living workers. These are looked at once in a second, or when one reports another number.
-- Who puts things right comes along with it, for whoever asks for that next: `holder_of`.
local holders = {}

local function live_slots(queue)
  local known, holder = unpack(redis.call('MGET', key.capacity(queue), key.reconciler))
  holders[1] = holder
  if known then return tonumber(known) end
  local sum, time, workers = 0, now(), redis.call('HKEYS', key.slots(queue))
  for at, said in ipairs(redis.call('HVALS', key.slots(queue))) do
    local slots, until_s = string.match(said, '^(%d+) (%S+)$')
    if tonumber(until_s) > time then
      sum = sum + tonumber(slots)
    else
      redis.call('HDEL', key.slots(queue), workers[at])
    end
  end
  redis.call('SET', key.capacity(queue), sum, 'PX', SUMMED_MS)
  return sum
end
