#!lua flags=allow-oom
-- What is due: lapsed leases, deadlines of waiting jobs, released jobs whose messages should be looked for, lists with
-- jobs whose records have expired.
-- Its work grows with what is due, at most `most` of each kind at a time. Nothing, while another process has the lock;
-- one of a version that knows nothing of turns gives it up to this one.
local holder = args.holder
if (redis.call('GET', key.reconciler) or holder) ~= holder and not is_older_in_charge() then return {} end
redis.call('SET', key.reconciler, holder, 'PX', args.lock_ms)

local time = now()
local due = seconds(time)
local released, looked_for, called, requeued, dead, expired, canceled = {}, {}, {}, 0, 0, 0, 0

-- After a restart or a failover of Redis, owners renew first. Asked here, so that no failover comes between.
local server = key.server
local info = redis.call('INFO', 'server', 'replication')
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
  redis.call('DEL', key.window(queue, caller))
  if list > LINE then
    redis.call('ZADD', key.line(queue), ranked(LINE, next_number()), id)
    redis.call('ZADD', key.released(queue), due, id)
  end
end

if not redis.call('HGET', server, 'has_turns') then
  for _, queue in ipairs(redis.call('SMEMBERS', key.queues)) do
    for _, id in ipairs(redis.call('ZRANGE', key.released(queue), 0, -1)) do move_to_turns(queue, id) end
  end
  redis.call('HSET', server, 'has_turns', 1)
end

-- That version released what each caller's window allowed. Once for each database: what there is room for stays in the
-- line, and the rest waits for its turn; its messages mean nothing until then.
local function move_to_line(queue)
  local room = room_in(queue)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key.line(queue), ranked(LINE, 0), '+inf')) do
    local caller = field(id, 'caller')
    if caller and room > 0 then
      redis.call('ZADD', key.line(queue), ranked(TURN, next_number()), id)
    elseif caller then
      step_back(id, queue, caller)
    end
    room = room - 1
  end
end

if not redis.call('HGET', server, 'has_shares') then
  for _, queue in ipairs(redis.call('SMEMBERS', key.queues)) do move_to_line(queue) end
  redis.call('HSET', server, 'has_shares', 1)
end

-- Callers whose jobs a process of that version has let wait, of whom only it knows.
local function admit_callers(queue)
  local taking = redis.call('ZCARD', key.newcomers(queue)) + redis.call('ZCARD', key.shares(queue))
  if redis.call('SCARD', key.callers(queue)) == taking then return end
  for _, caller in ipairs(redis.call('SMEMBERS', key.callers(queue))) do
    local has_turns = redis.call('ZSCORE', key.shares(queue), caller)
      or redis.call('ZSCORE', key.newcomers(queue), caller)
    if not has_turns then
      if redis.call('ZCARD', key.waiting(queue, caller)) > 0 then
        take_turns(queue, caller)
      else
        redis.call('SREM', key.callers(queue), caller)
      end
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

for _, queue in ipairs(redis.call('SMEMBERS', key.queues)) do
  if not is_held then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key.running(queue), '-inf', due, 'LIMIT', 0, args.most)) do
      lapse(queue, id)
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key.later(queue), '-inf', due, 'LIMIT', 0, args.most)) do
    local caller = field(id, 'caller')
    redis.call('ZREM', key.later(queue), id)
    redis.call('SREM', key.later_of(queue, caller), id)
    wait_in_turn(id, queue, caller)
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key.released(queue), '-inf', due, 'LIMIT', 0, args.most)) do
    look_later(queue, id, args.look_again_s)
    local place = redis.call('ZSCORE', key.line(queue), id)
    local list = place and rank_of(place) == FIRST and called or looked_for
    list[#list + 1] = id
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', key.deadlines, '-inf', due, 'LIMIT', 0, args.most)) do
  redis.call('ZREM', key.deadlines, id)
  if field(id, 'status') == 'queued' then
    local queue, caller = field(id, 'queue'), field(id, 'caller')
    give_up(id, queue, caller)
    conclude(id, 'expired', {'error', late_error(id), 'next', '[]'})
    expired = expired + 1
  end
end

-- At the end, when no job that is due to end waits any more.
for _, queue in ipairs(redis.call('SMEMBERS', key.queues)) do
  if redis.call('SCARD', key.callers(queue)) > 0 then
    admit_callers(queue)
    for _, id in ipairs(release(queue)) do released[#released + 1] = id end
  end
end
redis.call('ZREMRANGEBYSCORE', key.dead, '-inf', seconds(time - args.retention_s))
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', key.expiring, '-inf', due, 'LIMIT', 0, 4 * args.most)) do
  local id, caller = string.match(entry, '^(%S+) (.*)$')
  redis.call('ZREM', key.expiring, entry)
  redis.call('ZREM', key.jobs, id)
  redis.call('ZREM', key.jobs_of(caller), id)
end
return {released, looked_for, called, requeued, dead, expired, canceled}
