-- What goes before its time: records of ended jobs, because somebody asks for it, or because their caller's jobs take all
-- that they may.

local ROOM_AT_ONCE = 100  -- entries that go at most where one submission needs room; the next one goes on

-- No notification is sent of an end whose record is deleted.
local function drop_notices(id, protocols)
  for protocol in string.gmatch(protocols, '%S+') do
    if redis.call('ZSCORE', key.outbox(protocol), id) then
      redis.call('HINCRBY', key.notifications(protocol), 'given_up', 1)
    end
  end
  unpost(id, protocols)
end

-- Takes an entry off all that lists what has ended. A job's own name is its id.
local function unlist(entry, caller)
  redis.call('ZREM', key.expiring, entry .. ' ' .. caller)
  redis.call('ZREM', key.jobs, entry)
  redis.call('ZREM', key.jobs_of(caller), entry)
  forget_kept(caller, entry)
end

-- Has the record of an ended job gone now, as if it had expired. Answers whether it had ended. Not while its result is
-- being deleted: whoever was notified of it is to be notified that it is gone.
local function drop_job(id)
  local is = look_up(id, {'caller', 'ended_at', 'idempotency', 'tell', 'deletion'})
  if not is.ended_at then return false end
  if is.deletion == 'deleting' then return false end
  if is.tell then drop_notices(id, is.tell) end
  redis.call('UNLINK', key.job(id), key.events(id))
  if is.idempotency then redis.call('UNLINK', is.idempotency) end
  redis.call('ZREM', key.dead, id)
  unlist(id, is.caller)
  return true
end

-- The same of a batch none of whose jobs goes on.
local function drop_batch(batch, caller)
  local queued, processing = unpack(redis.call('HMGET', key.batch(batch), 'queued', 'processing'))
  if tonumber(queued or 0) + tonumber(processing or 0) > 0 then return false end
  redis.call('UNLINK', unpack(batch_keys(batch)))
  unlist(batch_entry(batch), caller)
  return true
end

-- Drops what an entry of `kept` stands for, where that has ended. What a process of an earlier version has queued again
-- is counted as what goes on, and what that saw expire as nothing.
local function drop_kept(entry, caller, units)
  local batch = string.match(entry, '^batch:(.*)$')
  if batch then
    if drop_batch(batch, caller) then return true end
    note_kept(caller, entry, units * KEPT_UNIT)
  elseif drop_job(entry) then
    return true
  elseif redis.call('EXISTS', key.job(entry)) == 0 then
    unlist(entry, caller)
    return true
  elseif field(entry, 'deletion') ~= 'deleting' then
    count_kept(entry, caller, field(entry, 'idempotency'))
  end
  return false
end

-- Drops the oldest of a caller's that has ended, as far as it has to go for so many units. Answers whether there is room
-- then.
local function drop_oldest(caller, over)
  local oldest = redis.call('ZRANGEBYSCORE', key.kept(caller), KEPT_ENDED, '+inf', 'WITHSCORES', 'LIMIT', 0,
    ROOM_AT_ONCE)
  for at = 1, #oldest, 2 do
    if over <= 0 then break end
    local units = tonumber(oldest[at + 1]) % KEPT_ENDED
    if drop_kept(oldest[at], caller, units) then over = over - units end
  end
  return over <= 0 or #oldest == 2 * ROOM_AT_ONCE
end

-- Counts so many units more of a caller's, whose jobs may take so much (nil for no bound): where that is more, its oldest
-- that has ended goes. Where that is not enough it answers false, and counts nothing, unless it `has_to` have room.
local function take_room(caller, units, max_bytes, has_to)
  local sum = add_units(caller, units)
  local over = max_bytes and sum - math.floor(max_bytes / KEPT_UNIT) or 0
  if over <= 0 or drop_oldest(caller, over) or has_to then return true end
  add_units(caller, -units)
  return false
end
