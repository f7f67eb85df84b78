-- Shared by all scripts of the job table; jobs/table.py puts it before each. Keys are those of jobs/names.py.

local EVENTS_MAX = 1000  -- of a job's stream

local function key(...)
  return 'imagemill:' .. table.concat({...}, ':')
end

-- Redis' clock decides, so that no two machines have to agree on the time. Seconds, to the microsecond.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function seconds(value)
  return string.format('%.6f', value)
end

local function field(id, name)
  return redis.call('HGET', key('job', id), name)
end

local function announce(id, kind, data)
  redis.call('XADD', key('events', id), 'MAXLEN', '~', EVENTS_MAX, '*', 'type', kind, 'data', cjson.encode(data))
end

-- Takes waiting jobs of one caller, best priority first, until its window is full. Returns their ids; whoever
-- ran the script sends their messages.
local function release(queue, caller, window)
  local open = key('window', queue, caller)
  local waiting = key('waiting', queue, caller)
  local ids = {}
  while redis.call('SCARD', open) < window do
    local first = redis.call('ZPOPMIN', waiting)[1]
    if not first then break end
    redis.call('SADD', open, first)
    redis.call('ZADD', key('released', queue), seconds(now()), first)
    ids[#ids + 1] = first
  end
  return ids
end

-- Takes a queued job out of wherever it waits: in the table, or released and unclaimed.
local function withdraw(id, queue, caller)
  redis.call('ZREM', key('waiting', queue, caller), id)
  redis.call('SREM', key('window', queue, caller), id)
  redis.call('ZREM', key('released', queue), id)
end

-- Writes the end of a job and tells those who wait. `fields` is a flat list of further hash fields.
local function conclude(id, status, fields, retention)
  local job = key('job', id)
  redis.call('HSET', job, 'status', status, 'ended_at', seconds(now()), unpack(fields))
  announce(id, 'completed', {status = status})
  redis.call('EXPIRE', job, retention)
  redis.call('EXPIRE', key('events', id), retention)
  local idempotency = redis.call('HGET', job, 'idempotency')
  if idempotency then redis.call('EXPIRE', idempotency, retention) end
end

local function is_past(moment)
  return moment and moment ~= '' and now() > tonumber(moment)
end

local function expire_error(what)
  return cjson.encode({code = 'deadline_exceeded', message = 'the ' .. what .. ' passed before the job was done'})
end
