-- Write a job, and release it, or as many waiting ones as there is room for, in turn.
-- Repeating it, under the same id, changes nothing and gives the same answer. A refusal leaves nothing behind, so a
-- repetition of it asks again.
local id, queue, caller, batch = args.job_id, args.queue, args.caller, args.batch
local job = key.job(id)

-- It needs no files, then: those that were noted for it are free again.
local function let_files_go()
  for _, file in ipairs(args.files or {}) do redis.call('ZREM', key.file_jobs(file), id) end
end

-- All at once, for nearly always there is none: the job, and tombstones of what was canceled before it came.
local tombstones = key.tombstones(caller)
local is_known = redis.call('EXISTS', unpack(args.tag and {job, key.tombstone(id), tombstones} or {job})) > 0
if is_known and redis.call('EXISTS', job) == 1 then
  if args.notifications then note_wants(id, args.notifications) end
  if args.tag then let_go(args.tag) end
  return {'created', id, cjson.decode(field(id, 'next') or '[]')}
end
local owner = args.idempotency_key and key.idempotency(caller, args.idempotency_key)
local first = owner and redis.call('GET', owner)
if first then
  let_files_go()
  return {field(first, 'digest') == args.digest and 'replayed' or 'conflict', first, {}}
end
local refusal
if batch and redis.call('HGET', key.batch(batch), 'is_closed') then
  refusal = 'batch_canceled'
elseif args.quota and count_queued(caller) >= args.quota then
  refusal = 'over_quota'
end
-- What came as a message takes room already: its caller's ended jobs give way to it, and it is not refused.
local units = units_of(KEPT_BESIDE + #ARGV[1] + (owner and 2 * #owner + KEPT_OF_KEY or 0))
if not refusal and not take_room(caller, units, args.max_kept, args.tag) then refusal = 'over_kept' end
if refusal then
  let_files_go()
  return {refusal, id, {}}
end

-- What follows is written in few commands: a hundred thousand jobs may come at once.
local time, number = now(), next_number()
local turn = ranked(PRIORITY_RANK[args.priority], number)
local fields = {'spec', args.spec, 'schema', SCHEMA_VERSION, 'queue', queue, 'caller', caller, 'digest', args.digest,
  'origin', args.origin, 'created_at', seconds(time), 'turn', turn, 'status', 'queued', 'kept', units}
local function note(name, value)
  fields[#fields + 1], fields[#fields + 2] = name, value
end
if args.start_deadline then note('start_by', seconds(time + args.start_deadline)) end
if args.deadline then note('end_by', seconds(time + args.deadline)) end
if args.start_after then note('not_before', seconds(time + args.start_after)) end
if args.time_limit then note('time_limit', args.time_limit) end
if args.kind then note('kind', args.kind) end
if args.cost then note('cost', args.cost) end
if args.traceparent then note('traceparent', args.traceparent) end
if owner then
  redis.call('SET', owner, id)
  note('idempotency', owner)
end
if batch then
  note('batch', batch)
  if args.custom_id then note('custom_id', args.custom_id) end
  redis.call('ZADD', key.batch_jobs(batch), args.line, id)
  redis.call('HINCRBY', key.batch(batch), 'queued', 1)
  keep_batch(batch)
end
if args.notifications then
  for _, each in ipairs(args.notifications) do note('tell:' .. each.protocol, each.wants) end
  note('tell', names_of(args.notifications))
end
redis.call('HSET', job, unpack(fields))
if args.tag then let_go(args.tag) end
enlist(id, caller, number)
if count(queue, 'submitted') == 1 then redis.call('SADD', key.queues, queue) end
if args.tag then count(queue, 'adopted') end

-- Whether somebody canceled it before it came: the operator, or its own caller.
local function was_canceled()
  if redis.call('DEL', key.tombstone(id)) == 1 then return true end
  local until_s = redis.call('ZSCORE', tombstones, id)
  return until_s and redis.call('ZREM', tombstones, id) == 1 and not is_past(until_s)
end

if is_known and was_canceled() then
  conclude(id, 'canceled', {})
  return {'created', id, {}}
end
if args.start_deadline or args.deadline then note_deadline(id) end
local released, free = {}, {}
if args.start_after then
  redis.call('ZADD', key.later(queue), seconds(time + args.start_after), id)
  redis.call('SADD', key.later_of(queue, caller), id)
  redis.call('ZADD', key.later_by(queue, caller), seconds(time + args.start_after), id)
  redis.call('ZADD', key.later_callers(queue), 'LT', seconds(time + args.start_after), caller)
else
  redis.call('ZADD', key.queued(queue), turn, id)
  -- While somebody waits there is no room: who makes room releases, and the reconciler where there come more slots.
  local first, had = first_in_turn(queue)
  if not first and room_in(queue) > 0 then
    hand_out(id, queue, caller, turn, TURN, 0, number)
    released, free = {id}, {'unpaid', 1}
  else
    redis.call('ZADD', key.waiting(queue, caller), turn, id)
    take_turns(queue, caller, first == caller and had)
    if first ~= caller then released = release_beside_older(queue, caller) end
  end
end
if #released > 0 then redis.call('HSET', job, 'next', cjson.encode(released), unpack(free)) end
return {'created', id, released}
