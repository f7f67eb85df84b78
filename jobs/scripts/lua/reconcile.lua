#!lua flags=allow-oom
-- What is due: lapsed leases, deadlines of waiting jobs, batches that are canceled, released jobs whose messages should be looked for, lists with
-- jobs whose records have expired.
-- Its work grows with what is due, and is about `most` jobs at a time, of all kinds and queues together: it answers
-- whether there is more. Nothing, while another process has the lock; one of a version that knows nothing of turns gives it
-- up to this one.
local MOST_BATCHES = 16  -- of which some is canceled in a pass

local holder = args.holder
if (redis.call('GET', key.reconciler) or holder) ~= holder and not is_older_in_charge() then return {} end
redis.call('SET', key.reconciler, holder, 'PX', args.lock_ms)

local time = now()
local due = seconds(time)
local released, looked_for, called, requeued, dead, expired, canceled = {}, {}, {}, 0, 0, 0, 0
local queues, has_more = redis.call('SMEMBERS', key.queues), false

-- After a restart or a failover of Redis, owners renew first. Asked here, so that no failover comes between.
local server = key.server
-- INFO is not everybody's to ask: without it no restart is seen, and jobs whose owners were late begin again.
local info = redis.pcall('INFO', 'server', 'replication')
if type(info) ~= 'string' then info = 'run_id:unknown master_replid:unknown' end
local identity = string.match(info, 'run_id:(%w+)') .. ' ' .. string.match(info, 'master_replid:(%w+)')
local hold_until = redis.call('HGET', server, 'hold_until')
if redis.call('HGET', server, 'identity') ~= identity then
  hold_until = seconds(time + args.lease_s)
  redis.call('HSET', server, 'identity', identity, 'hold_until', hold_until)
end
local is_held = tonumber(hold_until) > time

-- The version before had released jobs in another set, and a line for each priority. Once for each database: those of
-- the best one go first, and are as if called up; those of the last one get a message in everybody's line.
local function move_to_turns(queue, id)
  local caller, turn = unpack(redis.call('HMGET', key.job(id), 'caller', 'turn'))
  if not turn then return end
  local list = rank_of(redis.call('ZSCORE', key.line(queue), id) or ranked(LINE, 0))
  if list == FIRST then turn = ranked(CALLED, tonumber(turn) % RANK) end
  redis.call('ZADD', key.turns(queue, caller), turn, id)
  redis.call('UNLINK', key.window(queue, caller))
  if list > LINE then
    redis.call('ZADD', key.line(queue), ranked(LINE, next_number()), id)
    redis.call('ZADD', key.released(queue), due, id)
  end
end

-- Of a job whose record has gone nothing is known but its id.
local function forget(queue, id)
  for _, each in ipairs({key.line(queue), key.released(queue), key.queued(queue)}) do redis.call('ZREM', each, id) end
end

-- Goes on in this queue, and answers whether it is through. What comes meanwhile is moved, too, or needs it not.
local function move_released(queue)
  local at = 'turns:' .. queue
  local cursor = redis.call('HGET', server, at) or '0'
  if cursor == 'done' then return true end
  local found
  cursor, found = unpack(redis.call('ZSCAN', key.released(queue), cursor, 'COUNT', args.most))
  for each = 1, #found, 2 do move_to_turns(queue, found[each]) end
  redis.call('HSET', server, at, cursor == '0' and 'done' or cursor)
  return cursor == '0'
end

-- That version released what each caller's window allowed. Once for each database: what there is room for stays in the
-- line, and the rest waits for its turn; its messages mean nothing until then.
local function move_to_line(queue)
  local room = room_in(queue)
  local found = redis.call('ZRANGEBYSCORE', key.line(queue), ranked(LINE, 0), '+inf', 'LIMIT', 0, args.most)
  for _, id in ipairs(found) do
    local caller = field(id, 'caller')
    if not caller then
      forget(queue, id)
    elseif room > 0 then
      redis.call('ZADD', key.line(queue), ranked(TURN, next_number()), id)
      room = room - 1
    else
      step_back(id, queue, caller)
    end
  end
  return #found < args.most
end

-- In one queue at a time, and in no other before that is through.
local function move_once(flag, move)
  if redis.call('HGET', server, flag) then return true end
  for _, queue in ipairs(queues) do
    if not move(queue) then
      has_more = true
      return false
    end
  end
  redis.call('HSET', server, flag, 1)
  for _, queue in ipairs(queues) do redis.call('HDEL', server, 'turns:' .. queue) end
  return true
end

if move_once('has_turns', move_released) then move_once('has_shares', move_to_line) end

-- Callers whose jobs a process of that version has let wait, of whom only it knows.
local function admit_callers(queue)
  if redis.call('SCARD', key.callers(queue)) == redis.call('ZCARD', key.shares(queue)) then return end
  local unknown = redis.call('ZDIFF', 2, key.callers(queue), key.shares(queue))
  for at = 1, math.min(#unknown, args.most) do
    if redis.call('EXISTS', key.waiting(queue, unknown[at])) == 1 then
      take_turns(queue, unknown[at])
    else
      redis.call('SREM', key.callers(queue), unknown[at])
    end
  end
end

local function end_dead(id, attempts, deliveries)
  local why = 'the worker died or was lost ' .. attempts .. ' times while it ran this job'
  if attempts < args.max_attempts then why = 'the job was handed out ' .. deliveries .. ' times and never began' end
  conclude(id, 'failed', {'error', cjson.encode({code = 'worker_lost', message = why})}, 'worker_lost')
  redis.call('ZADD', key.dead, seconds(time), id)
  dead = dead + 1
end

local function lapse(queue, id)
  redis.call('ZREM', key.running(queue), id)
  if field(id, 'status') ~= 'processing' then return end
  redis.call('HDEL', key.job(id), 'token', 'owner')
  count(queue, 'lapsed')
  local attempts, deliveries = tonumber(field(id, 'attempts') or 0), tonumber(field(id, 'deliveries') or 0)
  if field(id, 'cancel') then
    conclude(id, 'canceled', {'next', '[]'})
    canceled = canceled + 1
  elseif is_past(field(id, 'end_by')) then
    conclude(id, 'expired', {'error', expire_error('deadline'), 'next', '[]'})
    expired = expired + 1
  elseif attempts >= args.max_attempts or deliveries >= args.max_deliveries then
    end_dead(id, attempts, deliveries)
  else
    take_back(id)
    requeued = requeued + 1
  end
end

local function due_in(set, most)
  return redis.call('ZRANGEBYSCORE', set, '-inf', due, 'LIMIT', 0, most)
end

local function lapse_some(queue, most)
  local ids = is_held and {} or due_in(key.running(queue), most)
  for _, id in ipairs(ids) do lapse(queue, id) end
  return #ids
end

-- The time of a job has come: it waits as others do, unless it has ended.
local function begin_later(queue, id)
  local is = look_up(id, {'status', 'caller', 'turn'})
  redis.call('ZREM', key.later(queue), id)
  if not is.caller then return end
  redis.call('SREM', key.later_of(queue, is.caller), id)
  redis.call('ZREM', key.later_by(queue, is.caller), id)
  if is.status == 'queued' then wait_in_turn(id, queue, is.caller, is.turn) end
end

-- A part of what is due of each caller, so that nobody's waits behind all of another's: who has more comes again behind
-- the others. `set_of` is a caller's own set, and `act` does what is due of a job.
local function some_of_each(waiting_callers, set_of, most, act)
  local callers, done = due_in(waiting_callers, most), 0
  for _, caller in ipairs(callers) do
    local own = set_of(caller)
    for _, id in ipairs(due_in(own, math.max(1, math.floor(most / #callers)))) do
      redis.call('ZREM', own, id)
      act(id)
      done = done + 1
    end
    local first, at = unpack(redis.call('ZRANGE', own, 0, 0, 'WITHSCORES'))
    if first then
      redis.call('ZADD', waiting_callers, seconds(math.max(tonumber(at), time)), caller)
    else
      redis.call('ZREM', waiting_callers, caller)
    end
  end
  return done
end

-- What is due behind that was written by a process that knows nothing of each caller's.
local function begin_some(queue, most)
  local function later_of_one(caller) return key.later_by(queue, caller) end
  local function begin(id) begin_later(queue, id) end
  local done = some_of_each(key.later_callers(queue), later_of_one, most, begin)
  local ids = done < most and due_in(key.later(queue), most - done) or {}
  for _, id in ipairs(ids) do begin_later(queue, id) end
  return done + #ids
end

local function look_for_some(queue, most)
  local ids = due_in(key.released(queue), most)
  for _, id in ipairs(ids) do
    local is = look_up(id, {'status', 'caller'})
    if is.status == 'queued' then
      look_later(queue, id, args.look_again_s)
      local place = redis.call('ZSCORE', key.line(queue), id)
      local list = place and rank_of(place) == FIRST and called or looked_for
      list[#list + 1] = id
    elseif is.caller then
      withdraw(id, queue, is.caller)
    else
      forget(queue, id)
    end
  end
  return #ids
end

-- Batches that are canceled, a part of each: who has more comes again behind the others.
local function cancel_some(_, most)
  local batches, done = redis.call('ZRANGE', key.canceling, 0, MOST_BATCHES - 1), 0
  for _, batch in ipairs(batches) do
    local has_more, count = cancel_some_of(batch, math.max(1, math.floor(most / #batches)), released)
    if has_more then redis.call('ZADD', key.canceling, due, batch) end
    done = done + count
  end
  return done
end

-- A job that a process of an earlier version has replayed may have a later deadline than was noted.
local function expire(id)
  local is = look_up(id, {'status', 'queue', 'caller', 'start_by', 'end_by'})
  redis.call('ZREM', key.deadlines, id)
  if is.status ~= 'queued' then return end
  if not is_past(is.start_by) and not is_past(is.end_by) then return note_deadline(id) end
  give_up(id, is.queue, is.caller)
  conclude(id, 'expired', {'error', late_error(id), 'next', '[]'})
  expired = expired + 1
end

-- Of each caller's some, and then what a process wrote that knows nothing of each caller's.
local function expire_some(_, most)
  local function deadlines_of_one(caller) return key.deadlines_by(caller) end
  local done = some_of_each(key.deadline_callers, deadlines_of_one, most, expire)
  local ids = done < most and due_in(key.deadlines, most - done) or {}
  for _, id in ipairs(ids) do expire(id) end
  return done + #ids
end

local function unlist_some(_, most)
  local entries = due_in(key.expiring, most)
  for _, entry in ipairs(entries) do unlist(string.match(entry, '^(%S+) (.*)$')) end
  return #entries
end

-- Ends of which a process of the version before notified nobody, though it was wanted, and which it did not count:
-- those that were written since the last look, by the list of what expires, for that version writes there, too.
local function post_some(_, most)
  local newest = time + args.retention_s
  local from = tonumber(redis.call('HGET', server, 'posted_to') or newest)
  from = from < newest and from or newest - args.lease_s  -- It is later than all where `retention_s` was longer before.
  local entries = redis.call('ZRANGEBYSCORE', key.expiring, '(' .. seconds(from), '+inf', 'WITHSCORES', 'LIMIT', 0, most)
  for at = 1, #entries, 2 do
    local id = string.match(entries[at], '^%S+')
    local is = look_up(id, {'tell', 'posted', 'ended_at', 'caller', 'idempotency'})
    if is.ended_at and tonumber(redis.call('ZSCORE', key.kept(is.caller), id) or 0) < KEPT_ENDED then
      count_kept(id, is.caller, is.idempotency, tonumber(is.ended_at))
    end
    if is.tell and is.ended_at and is.posted ~= is.ended_at then
      redis.call('HSET', key.job(id), 'posted', is.ended_at)
      post(id, is.tell)
    end
  end
  local last = entries[#entries] or seconds(from)
  redis.call('HSET', server, 'posted_to', seconds(tonumber(last)))
  return #entries / 2
end

local parts = {}
for _, queue in ipairs(queues) do
  for _, each in ipairs({lapse_some, begin_some, look_for_some}) do parts[#parts + 1] = {each, queue} end
end
parts[#parts + 1] = {expire_some}
parts[#parts + 1] = {cancel_some}
parts[#parts + 1] = {post_some}
parts[#parts + 1] = {unlist_some}

-- Each part has its share, and then as much more as the others have left.
local share, left, unfinished = math.max(1, math.floor(args.most / #parts)), args.most, {}
for _, part in ipairs(parts) do
  local done = part[1](part[2], share)
  left = left - done
  if done >= share then unfinished[#unfinished + 1] = part end
end
for _, part in ipairs(unfinished) do
  local most = left
  if most > 0 then left = left - part[1](part[2], most) end
  has_more = has_more or left <= 0
end

-- At the end, when no job that is due to end waits any more.
left = args.most
for _, queue in ipairs(queues) do
  if redis.call('SCARD', key.callers(queue)) > 0 then
    admit_callers(queue)
    local room = math.min(room_in(queue), left)
    local ids = release(queue, nil, room)
    for _, id in ipairs(ids) do released[#released + 1] = id end
    left = left - #ids
    has_more = has_more or left <= 0 or (#ids < room and is_anybody_waiting(queue))
    local outdated = redis.call('ZCOUNT', key.gone(queue), '-inf', front_of(queue))
    if outdated > 0 then
      redis.call('ZREMRANGEBYRANK', key.gone(queue), 0, math.min(outdated, 4 * args.most) - 1)
    end
  end
end
redis.call('ZREMRANGEBYSCORE', key.dead, '-inf', seconds(time - args.retention_s))
return {released, looked_for, called, requeued, dead, expired, canceled, has_more and 1 or 0}
