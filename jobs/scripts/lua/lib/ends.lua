-- A job's status and the counts of its batch; what an attempt may do; how a job ends. What ends jobs has the argument
-- `retention_s`.

local ENDS_MAX = 10000  -- of the stream of all ends

-- The keys of a batch.
local function batch_keys(batch)
  return {key.batch(batch), key.batch_jobs(batch), key.batch_refused(batch)}
end

-- What the keys of a batch take; counted with its caller's jobs.
local function count_batch(batch, ended_at)
  local caller, bytes = redis.call('HGET', key.batch(batch), 'caller'), KEPT_BESIDE
  if not caller then return end
  for _, each in ipairs(batch_keys(batch)) do bytes = bytes + bytes_of(each, 5) end
  note_kept(caller, batch_entry(batch), bytes, ended_at)
  return caller
end

-- A batch expires as its last job does, and not while one of its jobs goes on.
local function keep_batch(batch)
  local was_to_expire = redis.call('TTL', key.batch(batch)) >= 0
  for _, each in ipairs(batch_keys(batch)) do redis.call('PERSIST', each) end
  local caller = was_to_expire and count_batch(batch)
  if caller then redis.call('ZREM', key.expiring, batch_entry(batch) .. ' ' .. caller) end
end

local function let_batch_expire(batch)
  local queued, processing = unpack(redis.call('HMGET', key.batch(batch), 'queued', 'processing'))
  if tonumber(queued or 0) + tonumber(processing or 0) > 0 then return end
  for _, each in ipairs(batch_keys(batch)) do redis.call('EXPIRE', each, args.retention_s) end
  local caller = count_batch(batch, now())
  if caller then
    redis.call('ZADD', key.expiring, seconds(now() + args.retention_s), batch_entry(batch) .. ' ' .. caller)
  end
end

-- Every change of a job's status changes the counts of its batch.
local function count_in_batch(batch, before, status)
  if not batch then return end
  if before then redis.call('HINCRBY', key.batch(batch), before, -1) end
  redis.call('HINCRBY', key.batch(batch), status, 1)
end

local function set_status(id, status)
  local is = look_up(id, {'status', 'batch'})
  redis.call('HSET', key.job(id), 'status', status)
  count_in_batch(is.batch, is.status, status)
end

-- What an attempt should do, by what its job's record says: 'go', 'cancel', 'expired', or 'fenced' where the job is not
-- its own.
local function verdict_of(is, token)
  if is.status ~= 'processing' or is.token ~= token then return 'fenced' end
  if is.cancel then return 'cancel' end
  return (is_past(is.end_by) or is_past(is.run_by)) and 'expired' or 'go'
end

local function verdict(id, token)
  return verdict_of(look_up(id, {'status', 'token', 'cancel', 'end_by', 'run_by'}), token)
end

-- `stage` is whatever the attempt calls it.
local function note_stage(id, stage, step, steps)
  redis.call('HSET', key.job(id), 'stage', stage, 'step', step, 'steps', steps, 'unseen', 0)
  announce(id, 'progress', {stage = stage, step = step, steps = steps})
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
  redis.call('HDEL', key.job(id), 'token', 'owner', 'stage', 'step', 'steps', 'started_at', 'run_by', 'guesses')
  set_status(id, 'queued')
  pay_back(id, queue, caller)
  wait_in_turn(id, queue, caller)
  note_deadline(id)
  announce(id, 'status', {status = 'queued'})
end

-- Forgets the failed tries of a notification: it was sent, or starts anew.
local function forget_tries(protocol, id)
  if redis.call('HDEL', key.tries(protocol), id) == 1 then redis.call('ZREM', key.late(protocol), id) end
end

-- Withdraws a notification that was not sent yet: the job runs again, or a new notification replaces it.
local function unpost(id, protocols)
  for protocol in string.gmatch(protocols, '%S+') do
    redis.call('ZREM', key.outbox(protocol), id)
    redis.call('HDEL', key.notifiers(protocol), id)
    forget_tries(protocol, id)
    redis.call('ZREM', key.given_up(protocol), id)
  end
end

-- Queues the notification of each protocol: for any notifier; where the process that ends the job sends it itself,
-- by others only when that has taken too long.
local function post(id, protocols)
  local due = seconds(now() + (args.notifier and args.notifier_lease_s or 0))
  for protocol in string.gmatch(protocols, '%S+') do
    redis.call('ZADD', key.outbox(protocol), due, id)
    if args.notifier then redis.call('HSET', key.notifiers(protocol), id, args.notifier) end
  end
end

-- The names of the protocols, as a record has them.
local function names_of(notifications)
  local protocols = {}
  for at, each in ipairs(notifications) do protocols[at] = each.protocol end
  return table.concat(protocols, ' ')
end

-- Notes the notifications wanted of a job that exists; of one that has ended, they are sent now.
local function note_wants(id, notifications)
  local fields, protocols = {'tell', names_of(notifications)}, names_of(notifications)
  for _, each in ipairs(notifications) do fields[#fields + 1], fields[#fields + 2] = 'tell:' .. each.protocol, each.wants end
  redis.call('HSET', key.job(id), unpack(fields))
  local is = look_up(id, {'ended_at', 'caller', 'idempotency', 'deletion'})
  if is.deletion then
    redis.call('HDEL', key.job(id), 'told')
    look_again(id)
  end
  if is.ended_at then
    unpost(id, protocols)
    post(id, protocols)
    redis.call('HSET', key.job(id), 'posted', is.ended_at)
  end
  count_kept(id, is.caller, is.idempotency, tonumber(is.ended_at or ''))
end

-- Writes the end of a job and publishes it to those who wait. `fields` is a flat list of further hash fields; `code` is the
-- error's, of a job that failed; `is` is what the record says, where that is known. Returns all fields that it wrote.
local function conclude(id, status, fields, code, is)
  local job = key.job(id)
  is = is or look_up(id, {'status', 'batch', 'start_by', 'end_by', 'idempotency', 'queue', 'tell', 'caller', 'kept',
    'watched', 'sent'})
  local written = {'status', status, 'ended_at', seconds(now()), unpack(fields)}
  if is.tell then written[#written + 1], written[#written + 2] = 'posted', seconds(now()) end
  redis.call('HSET', job, unpack(written))
  count_in_batch(is.batch, is.status, status)
  if is.start_by or is.end_by then forget_deadline(id, is.caller) end
  announce(id, 'completed', {status = status})
  redis.call('EXPIRE', job, args.retention_s)
  redis.call('EXPIRE', key.events(id), args.retention_s)
  redis.call('ZADD', key.expiring, seconds(now() + args.retention_s), id .. ' ' .. is.caller)
  redis.call('XADD', key.ends, 'MAXLEN', '~', ENDS_MAX, '*', 'id', id, 'status', status, 'queue', is.queue,
    'caller', is.caller)
  if is.tell then post(id, is.tell) end
  count(is.queue, status)
  if status == 'failed' and code then count(is.queue, 'failed:' .. code) end
  if is.idempotency then redis.call('EXPIRE', is.idempotency, args.retention_s) end
  count_end(id, is, written)
  if is.batch then let_batch_expire(is.batch) end
  return written
end

local function expire_error(what)
  return cjson.encode({code = 'deadline_exceeded', message = 'the ' .. what .. ' passed before the job was done'})
end

-- The error of a job whose deadline passed while it waited.
local function late_error(id)
  return expire_error(is_past(field(id, 'end_by')) and 'deadline' or 'start_deadline')
end

-- Ends a job that is queued. Answers the ids that are released in turn.
local function cancel_queued(id)
  local is = look_up(id, {'queue', 'caller'})
  give_up(id, is.queue, is.caller)
  local released = release(is.queue, is.caller)
  conclude(id, 'canceled', {'next', as_list(released)})
  return released
end

-- Asks a job that runs to leave at its next step.
local function ask_to_leave(id)
  redis.call('HSET', key.job(id), 'cancel', 1)
  redis.call('PUBLISH', channel.cancel, id)
end

-- Goes on with canceling a batch, from behind, for the first jobs are released and would release others that are to be
-- canceled: looks at `most` of its jobs. Answers whether there are more, and how many those were; the ids that are
-- released in turn go into `ids`.
local function cancel_some_of(batch, most, ids)
  local record, line = key.batch(batch), key.batch_jobs(batch)
  local from = tonumber(redis.call('HGET', record, 'cancel_from') or 0)
  local found = redis.call('ZREVRANGE', line, from, from + most - 1)
  for _, id in ipairs(found) do
    local status = field(id, 'status')
    if status == 'queued' then
      for _, each in ipairs(cancel_queued(id)) do ids[#ids + 1] = each end
    elseif status == 'processing' then
      ask_to_leave(id)
    end
  end
  if #found < most then
    redis.call('ZREM', key.canceling, batch)
    redis.call('HDEL', record, 'cancel_from')
  else
    redis.call('HSET', record, 'cancel_from', from + most)
  end
  return #found == most, #found
end
