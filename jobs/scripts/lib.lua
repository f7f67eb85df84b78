-- Shared by all scripts of the job table; jobs/table.py puts it before each. Keys are those of jobs/names.py.

local EVENTS_MAX = 1000  -- of a job's stream
local LOOK_AFTER_S = 5  -- when to look, the first time, whether the message of a released job is still there

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

-- An entry of the job's stream, and word of it to whoever listens now. Who was away reads the stream.
local function announce(id, kind, data)
  local text = cjson.encode(data)
  local entry = redis.call('XADD', key('events', id), 'MAXLEN', '~', EVENTS_MAX, '*', 'type', kind, 'data', text)
  redis.call('PUBLISH', key('news', id), entry .. ' ' .. kind .. ' ' .. text)
end

-- Takes waiting jobs of one caller, best priority first, until its window is full; none of a paused queue. Returns
-- their ids; whoever ran the script sends their messages.
local function release(queue, caller, window)
  if redis.call('SISMEMBER', key('paused'), queue) == 1 then return {} end
  local open = key('window', queue, caller)
  local waiting = key('waiting', queue, caller)
  local ids = {}
  while redis.call('SCARD', open) < window do
    local first = redis.call('ZPOPMIN', waiting)[1]
    if not first then break end
    redis.call('SADD', open, first)
    redis.call('ZADD', key('released', queue), seconds(now() + LOOK_AFTER_S), first)
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

-- Puts a job where waiting jobs are, in the turn that it had from the first.
local function wait_in_turn(id, queue, caller)
  redis.call('ZADD', key('waiting', queue, caller), field(id, 'turn'), id)
end

-- Jobs of a caller that are queued, in all queues: those in the table and those released and unclaimed. Counted where
-- they are, for a counter beside them could go astray.
local function count_queued(caller)
  local count = 0
  for _, queue in ipairs(redis.call('SMEMBERS', key('queues'))) do
    count = count + redis.call('ZCARD', key('waiting', queue, caller)) + redis.call('SCARD', key('window', queue, caller))
  end
  return count
end

-- When it is due that a job has expired while it waited, the reconciler ends it.
local function note_deadline(id)
  local due
  for _, name in ipairs({'start_by', 'end_by'}) do
    local moment = tonumber(field(id, name) or nil)
    if moment and (not due or moment < due) then due = moment end
  end
  if due then redis.call('ZADD', key('deadlines'), seconds(due), id) end
end

-- processing → queued. The attempt's token is cleared, so that whatever it still writes is refused.
local function take_back(id)
  local queue = field(id, 'queue')
  redis.call('ZREM', key('running', queue), id)
  redis.call('HDEL', key('job', id), 'token', 'owner', 'stage', 'step', 'steps', 'started_at')
  redis.call('HSET', key('job', id), 'status', 'queued')
  wait_in_turn(id, queue, field(id, 'caller'))
  note_deadline(id)
  announce(id, 'status', {status = 'queued'})
end

-- An attempt that did no harm is not counted. Each is taken back once.
local function refund(id, token)
  if redis.call('HDEL', key('job', id), 'charge:' .. token) == 1 then
    redis.call('HINCRBY', key('job', id), 'attempts', -1)
  end
end

-- Writes the end of a job and tells those who wait. `fields` is a flat list of further hash fields.
local function conclude(id, status, fields, retention)
  local job = key('job', id)
  redis.call('HSET', job, 'status', status, 'ended_at', seconds(now()), unpack(fields))
  redis.call('ZREM', key('deadlines'), id)
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
