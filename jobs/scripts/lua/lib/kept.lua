-- What a caller's jobs take of Redis: each is counted from its submission until its record has gone, once. Of a job that
-- goes on its record says how much that is; of what has ended, and of batches, one set of the caller's does.

local KEPT_ENDED = 2097152  -- of a score: before it the second of the end, 0 where it goes on; behind it the units

local KEPT_BESIDE = 900  -- bytes that a job takes in sets and lists, beside its record and its events

-- Bytes by which an end adds more than it writes: a stream of events has 4 KiB set aside, however short it is.
local KEPT_AT_END = 4600

local KEPT_OF_KEY = 100  -- bytes of an idempotency key, beside its name, which the record has, too

local KEPT_GUESS = 2048  -- bytes of a key, where Redis does not let this be asked

-- `samples` of its parts are looked at, or all with 0: those of a record differ much, those of a list of ids do not.
local function bytes_of(name, samples)
  local bytes = redis.pcall('MEMORY', 'USAGE', name, 'SAMPLES', samples or 0)
  return type(bytes) == 'table' and KEPT_GUESS or bytes or 0
end

local function units_of(bytes)
  return math.min(math.ceil(bytes / KEPT_UNIT), KEPT_ENDED - 1)
end

-- Counts so many units more of a caller's, or less. Answers how many those are then.
local function add_units(caller, units)
  local sum = redis.call('HINCRBY', key.kept_units, caller, string.format('%.0f', units))
  if sum <= 0 then redis.call('HDEL', key.kept_units, caller) end
  return sum
end

local function kept_score(units, ended_at)
  return string.format('%.0f', math.floor(ended_at or 0) * KEPT_ENDED + units)
end

-- What an entry of the set counts, anew: it takes so many bytes, and has ended at this moment, or goes on.
local function note_kept(caller, entry, bytes, ended_at)
  local set, units = key.kept(caller), units_of(bytes)
  local before = tonumber(redis.call('ZSCORE', set, entry) or 0) % KEPT_ENDED
  redis.call('ZADD', set, kept_score(units, ended_at), entry)
  if units ~= before then add_units(caller, units - before) end
end

-- An entry that has gone counts no more.
local function forget_kept(caller, entry)
  local score = tonumber(redis.call('ZSCORE', key.kept(caller), entry) or 0)
  if redis.call('ZREM', key.kept(caller), entry) == 0 then return end
  add_units(caller, -(score % KEPT_ENDED))
end

-- Counts a job as its record is now: it has ended at this moment, or goes on.
local function count_kept(id, caller, idempotency, ended_at)
  local set, bytes = key.kept(caller), KEPT_BESIDE + bytes_of(key.job(id))
  if idempotency then bytes = bytes + bytes_of(idempotency) end
  if ended_at then bytes = bytes + bytes_of(key.events(id)) end
  local score, units = redis.call('ZSCORE', set, id), units_of(bytes)
  local before = tonumber(score or field(id, 'kept') or 0) % KEPT_ENDED
  if ended_at then
    redis.call('ZADD', set, kept_score(units, ended_at), id)
  else
    redis.call('ZREM', set, id)
    redis.call('HSET', key.job(id), 'kept', units)
  end
  if units ~= before then add_units(caller, units - before) end
end

-- Counts a job that ends now: as what it was counted, and what its end has written. Redis is asked of one that somebody
-- read, or that sent data, and so has more events; of one that was not counted, or has ended before by its entry: what an
-- earlier version wrote or replayed.
local function count_end(id, is, written)
  local before, bytes = tonumber(is.kept or ''), KEPT_AT_END
  if before and not is.watched and not is.sent then
    for _, each in ipairs(written) do bytes = bytes + #tostring(each) end
    local units = math.min(before + units_of(bytes), KEPT_ENDED - 1)
    if redis.call('ZADD', key.kept(is.caller), 'NX', kept_score(units, now()), id) == 1 then
      return add_units(is.caller, units - before)
    end
  end
  count_kept(id, is.caller, is.idempotency, now())
end

-- What a batch is called in that set, and in the one of what expires: no job has such an id.
local function batch_entry(batch)
  return 'batch:' .. batch
end
