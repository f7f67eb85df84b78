-- A job's status and the counts of its batch; what an attempt may do; how a job ends. What ends jobs has the argument
-- `retention_s`.

local ENDS_MAX = 10000  -- of the stream of all ends

-- The keys of a batch.
local function batch_keys(batch)
  return {key.batch(batch), key.batch_jobs(batch), key.batch_refused(batch)}
end

-- A batch expires as its last job does, and not while one of its jobs goes on.
local function keep_batch(batch)
  for _, each in ipairs(batch_keys(batch)) do redis.call('PERSIST', each) end
end

local function let_batch_expire(batch)
  local queued, processing = unpack(redis.call('HMGET', key.batch(batch), 'queued', 'processing'))
  if tonumber(queued or 0) + tonumber(processing or 0) > 0 then return end
  for _, each in ipairs(batch_keys(batch)) do redis.call('EXPIRE', each, args.retention_s) end
end

-- Every change of a job's status, and so of the counts of its batch.
local function set_status(id, status)
  local job = key.job(id)
  local before, batch = unpack(redis.call('HMGET', job, 'status', 'batch'))
  redis.call('HSET', job, 'status', status)
  if not batch then return end
  if before then redis.call('HINCRBY', key.batch(batch), before, -1) end
  redis.call('HINCRBY', key.batch(batch), status, 1)
end

-- What an attempt should do: 'go', 'cancel', 'expired', or 'fenced' where the job is not its own.
local function verdict(id, token)
  local status, holder, cancel, end_by, run_by = unpack(redis.call('HMGET', key.job(id), 'status', 'token', 'cancel',
    'end_by', 'run_by'))
  if status ~= 'processing' or holder ~= token then return 'fenced' end
  if cancel then return 'cancel' end
  return (is_past(end_by) or is_past(run_by)) and 'expired' or 'go'
end

-- `stage` is whatever the attempt calls it.
local function note_stage(id, stage, step, steps)
  redis.call('HSET', key.job(id), 'stage', stage, 'step', step, 'steps', steps)
  announce(id, 'progress', {stage = stage, step = step, steps = steps})
end

-- Counts an attempt, once.
local function charge(id, token)
  if redis.call('HSETNX', key.job(id), 'charge:' .. token, 1) == 1 then
    redis.call('HINCRBY', key.job(id), 'attempts', 1)
  end
end

-- An attempt that did no harm is not counted. Each is taken back once.
local function refund(id, token)
  if redis.call('HDEL', key.job(id), 'charge:' .. token) == 1 then
    redis.call('HINCRBY', key.job(id), 'attempts', -1)
  end
end

-- processing → queued. The attempt's token is cleared, so that whatever it still writes is refused.
local function take_back(id)
  local queue, caller = field(id, 'queue'), field(id, 'caller')
  redis.call('ZREM', key.running(queue), id)
  redis.call('HDEL', key.job(id), 'token', 'owner', 'stage', 'step', 'steps', 'started_at', 'run_by')
  set_status(id, 'queued')
  pay_back(id, queue, caller)
  wait_in_turn(id, queue, caller)
  note_deadline(id)
  announce(id, 'status', {status = 'queued'})
end

-- Has an end told by each protocol that wants it. One that was not told yet is told no more: what is told is what stands in
-- the record.
local function post(id, protocols)
  for protocol in string.gmatch(protocols, '%S+') do
    redis.call('ZADD', key.outbox(protocol), seconds(now()), id)
    redis.call('HDEL', key.tellers(protocol), id)
    redis.call('HDEL', key.tries(protocol), id)
    redis.call('ZREM', key.untold(protocol), id)
  end
end

-- Notes who wants to be told of the end of a job that is there; of one that has ended, he is told now.
local function note_wants(id, tells)
  local protocols = {}
  for at, each in ipairs(tells) do
    protocols[at] = each.protocol
    redis.call('HSET', key.job(id), 'tell:' .. each.protocol, each.wants)
  end
  local tell = table.concat(protocols, ' ')
  redis.call('HSET', key.job(id), 'tell', tell)
  if field(id, 'ended_at') then post(id, tell) end
end

-- Writes the end of a job and tells those who wait. `fields` is a flat list of further hash fields; `code` is the
-- error's, of a job that failed.
local function conclude(id, status, fields, code)
  local job = key.job(id)
  set_status(id, status)
  redis.call('HSET', job, 'ended_at', seconds(now()), unpack(fields))
  redis.call('ZREM', key.deadlines, id)
  announce(id, 'completed', {status = status})
  redis.call('EXPIRE', job, args.retention_s)
  redis.call('EXPIRE', key.events(id), args.retention_s)
  local idempotency, batch, queue, tell, caller = unpack(redis.call('HMGET', job, 'idempotency', 'batch', 'queue',
    'tell', 'caller'))
  redis.call('ZADD', key.expiring, seconds(now() + args.retention_s), id .. ' ' .. caller)
  redis.call('XADD', key.ends, 'MAXLEN', '~', ENDS_MAX, '*', 'id', id, 'status', status, 'queue', queue, 'caller', caller)
  if tell then post(id, tell) end
  count(queue, status)
  if status == 'failed' and code then count(queue, 'failed:' .. code) end
  if idempotency then redis.call('EXPIRE', idempotency, args.retention_s) end
  if batch then let_batch_expire(batch) end
end

local function expire_error(what)
  return cjson.encode({code = 'deadline_exceeded', message = 'the ' .. what .. ' passed before the job was done'})
end

-- The error of a job whose deadline passed while it waited.
local function late_error(id)
  return expire_error(is_past(field(id, 'end_by')) and 'deadline' or 'start_deadline')
end
