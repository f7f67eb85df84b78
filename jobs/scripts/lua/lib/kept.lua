-- What a caller's jobs take of Redis: each record is counted from its submission until it has gone, once, in one set. A
-- batch is counted likewise, as a member of the same set.

local KEPT_ENDED = 2097152  -- of a score: before it the second of the end, 0 where it goes on; behind it the units

local KEPT_BESIDE = 900  -- bytes that a job takes in sets and lists, beside its record and its events

local KEPT_GUESS = 2048  -- bytes of a key, where Redis does not let this be asked

-- `samples` of its parts are looked at, or all with 0: those of a record differ much, those of a list of ids do not.
local function bytes_of(name, samples)
  local bytes = redis.pcall('MEMORY', 'USAGE', name, 'SAMPLES', samples or 0)
  return type(bytes) == 'table' and KEPT_GUESS or bytes or 0
end

local function units_of(bytes)
  return math.min(math.ceil(bytes / KEPT_UNIT), KEPT_ENDED - 1)
end

-- What an entry counts, anew: it takes so many bytes, and has ended at this moment, or goes on. One that comes `is_new`.
local function note_kept(caller, entry, bytes, ended_at, is_new)
  local set, units = key.kept(caller), units_of(bytes)
  local before = is_new and 0 or tonumber(redis.call('ZSCORE', set, entry) or 0) % KEPT_ENDED
  redis.call('ZADD', set, string.format('%.0f', math.floor(ended_at or 0) * KEPT_ENDED + units), entry)
  if units ~= before then redis.call('HINCRBY', key.kept_units, caller, string.format('%.0f', units - before)) end
end

-- An entry that has gone counts no more.
local function forget_kept(caller, entry)
  local score = tonumber(redis.call('ZSCORE', key.kept(caller), entry) or 0)
  if redis.call('ZREM', key.kept(caller), entry) == 0 then return end
  local left = redis.call('HINCRBY', key.kept_units, caller, string.format('%.0f', -(score % KEPT_ENDED)))
  if left <= 0 then redis.call('HDEL', key.kept_units, caller) end
end

-- Counts a job as its record is now.
local function count_kept(id, caller, idempotency, ended_at)
  local bytes = KEPT_BESIDE
  for _, each in ipairs({key.job(id), key.events(id), idempotency}) do
    bytes = bytes + bytes_of(each)
  end
  note_kept(caller, id, bytes, ended_at)
end

-- What a batch is called in that set, and in the one of what expires: no job has such an id.
local function batch_entry(batch)
  return 'batch:' .. batch
end
