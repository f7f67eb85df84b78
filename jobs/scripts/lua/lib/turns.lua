-- Where jobs stand that have not begun, and in which order they come. What releases jobs has the arguments `window`,
-- `look_after_s` and `look_lost_s`: see jobs/scripts/limits.py.

local RANK = 1e14  -- Rank in front, number behind it: 9 ranks × 10^14 numbers still are whole numbers in a double.

local AT_ONCE = 256  -- jobs that one script releases at most, however many slots there are; the next one goes on

local AHEAD = 1e-6  -- of a turn: so far before all others a caller begins to take turns that has had none

local function ranked(rank, number)
  return string.format('%.0f', rank * RANK + number)
end

local function rank_of(turn)
  return math.floor(tonumber(turn) / RANK)
end

-- The rank of a job's priority: what was moved to the front stands a rank before it.
local function priority_rank(turn)
  local rank = rank_of(turn)
  for _, each in pairs(PRIORITY_RANK) do
    if rank == each - FRONT then return each end
  end
  return rank
end

-- The lists of jobs, in the order of their submission: everybody's, and the caller's own.
local function enlist(id, caller, number)
  for _, list in ipairs({key.jobs, key.jobs_of(caller)}) do redis.call('ZADD', list, 'NX', number, id) end
end

-- When to look whether the message of a released job is still there.
local function look_later(queue, id, after_s)
  local is_lost = tonumber(field(id, 'deliveries') or 0) > 0
  redis.call('ZADD', key.released(queue), seconds(now() + (is_lost and args.look_lost_s or after_s)), id)
end

-- What a job's turn costs its caller, and how often it was claimed. One of a version that knew no costs has 1.
local function cost_of(id)
  local cost, deliveries = unpack(redis.call('HMGET', key.job(id), 'cost', 'deliveries'))
  return tonumber(cost) or 1, tonumber(deliveries) or 0
end

-- Whether a process of a version that has no turns puts things right: then its workers may be all that there are, and
-- these release, when they claim, only what the same caller has.
local function is_older_in_charge()
  local holder = holders[1]
  if holder == nil then holder = redis.call('GET', key.reconciler) end
  return holder and tonumber(string.match(holder, '^(%d+)%-') or 0) < RECONCILER_VERSION
end

-- Whether jobs wait for their release: whoever comes then has to take turns.
local function is_anybody_waiting(queue)
  return redis.call('EXISTS', key.newcomers(queue), key.shares(queue)) > 0
end

-- How many more messages of all callers may stand in Celery. Those that a version without turns sent do not count.
local function room_in(queue)
  if is_paused(queue) then return 0 end
  local standing = redis.call('ZCOUNT', key.line(queue), '-inf', '(' .. ranked(LINE, 0))
  return math.max(args.window, 2 * live_slots(queue)) - standing
end

-- What the caller has had that has had least, of those that take turns.
local function front_of(queue)
  return tonumber(redis.call('ZRANGE', key.shares(queue), 0, 0, 'WITHSCORES')[2] or 0)
end

-- Has a caller whose job waits take turns. One that has had none lately, and has nothing released, goes before all that
-- have, in the order of coming; as soon as a second job of its waits, behind these and before all others.
local function take_turns(queue, caller)
  if redis.call('ZSCORE', key.shares(queue), caller) then return end
  redis.call('SADD', key.callers(queue), caller)
  local is_new = redis.call('ZCARD', key.turns(queue, caller)) == 0
  if is_new and redis.call('ZADD', key.newcomers(queue), 'NX', next_number(), caller) == 1 then return end
  redis.call('ZREM', key.newcomers(queue), caller)
  redis.call('ZADD', key.shares(queue), front_of(queue) - AHEAD, caller)
end

-- Takes the next of the waiting jobs, with its turn, its caller, who pays for it, and how often it was claimed; nothing
-- where none waits. This is start-time fair queueing (Goyal, Vin and Cheng 1996): who comes anew begins with what the
-- others have had at least, and who has nothing more that waits is remembered until they have had as much as he.
local function next_in_turn(queue)
  while true do
    local newcomer = redis.call('ZRANGE', key.newcomers(queue), 0, 0)[1]
    local first, had = unpack(redis.call('ZRANGE', key.shares(queue), 0, 0, 'WITHSCORES'))
    local caller = newcomer or first
    if not caller then return end
    if newcomer then redis.call('ZREM', key.newcomers(queue), caller) end
    local id, turn = unpack(redis.call('ZPOPMIN', key.waiting(queue, caller)))
    if id then
      local cost, deliveries = cost_of(id)
      redis.call('ZADD', key.shares(queue), tonumber(had or 0) + cost, caller)
      return id, turn, caller, deliveries
    end
    redis.call('ZREM', key.shares(queue), caller)
    redis.call('SREM', key.callers(queue), caller)
  end
end

-- Releases a job: whoever ran the script sends its message. All stand in one line, whatever their priority: that is for
-- the caller's own jobs, and `claim` sees to it.
local function hand_out(id, queue, caller, turn, rank, deliveries)
  local look_at = now() + (deliveries > 0 and args.look_lost_s or args.look_after_s)
  redis.call('ZADD', key.turns(queue, caller), turn, id)
  redis.call('ZADD', key.released(queue), seconds(look_at), id)
  redis.call('ZADD', key.line(queue), ranked(rank, next_number()), id)
end

-- Releases jobs of one caller as a version without turns does, so that its workers find the next ones.
local function release_of(queue, caller)
  local ids = {}
  while redis.call('ZCARD', key.turns(queue, caller)) < args.window do
    local id, turn = unpack(redis.call('ZPOPMIN', key.waiting(queue, caller)))
    if not id then break end
    local _, deliveries = cost_of(id)
    hand_out(id, queue, caller, turn, LINE, deliveries)
    ids[#ids + 1] = id
  end
  return ids
end

-- Releases waiting jobs in turn, as far as there is room. Returns their ids. `caller` is the one whose job it is about;
-- `room` is how much there is, where it is known, and that somebody waits.
local function release(queue, caller, room)
  local ids = {}
  if not room and not is_anybody_waiting(queue) then return ids end
  room = room or room_in(queue)
  for _ = 1, math.min(room, AT_ONCE) do
    local id, turn, whose, deliveries = next_in_turn(queue)
    if not id then break end
    hand_out(id, queue, whose, turn, TURN, deliveries)
    ids[#ids + 1] = id
  end
  if room <= 0 and caller and is_older_in_charge() and not is_paused(queue) then
    return release_of(queue, caller)
  end
  return ids
end

-- The best of a caller's queued jobs that has no turn yet, released or not, where it is of a better rank than `rank`.
local function better_than(rank, queue, caller)
  local best, best_turn
  for _, each in ipairs({key.turns(queue, caller), key.waiting(queue, caller)}) do
    local first, turn = unpack(redis.call('ZRANGE', each, 0, 0, 'WITHSCORES'))
    if first and rank_of(turn) < rank and (not best or tonumber(turn) < tonumber(best_turn)) then
      best, best_turn = first, turn
    end
  end
  return best
end

-- Gives a queued job the turn that another of its caller's had: its message goes where workers look first.
local function call_up(id, queue, caller)
  if redis.call('ZREM', key.waiting(queue, caller), id) == 1 then
    local cost = cost_of(id)
    redis.call('ZADD', key.shares(queue), 'XX', 'INCR', cost, caller)
  end
  redis.call('ZADD', key.turns(queue, caller), ranked(CALLED, tonumber(field(id, 'turn')) % RANK), id)
  look_later(queue, id, args.look_after_s)
  redis.call('ZADD', key.line(queue), ranked(FIRST, next_number()), id)
end

-- A turn that a job has paid for and does not use is paid back, as far as its caller does not get before the others.
local function pay_back(id, queue, caller)
  local had = redis.call('ZSCORE', key.shares(queue), caller)
  if not had then return end
  local cost = cost_of(id)
  redis.call('ZADD', key.shares(queue), math.max(tonumber(had) - cost, front_of(queue)), caller)
end

-- Takes a queued job out of wherever it waits: in the table, or released and unclaimed, which it answers.
local function withdraw(id, queue, caller)
  redis.call('ZREM', key.queued(queue), id)
  redis.call('ZREM', key.waiting(queue, caller), id)
  redis.call('ZREM', key.later(queue), id)
  redis.call('SREM', key.later_of(queue, caller), id)
  redis.call('ZREM', key.turns(queue, caller), id)
  redis.call('ZREM', key.released(queue), id)
  return redis.call('ZREM', key.line(queue), id) == 1
end

-- Takes a queued job out because it is to end.
local function give_up(id, queue, caller)
  if withdraw(id, queue, caller) then pay_back(id, queue, caller) end
end

-- Puts a job where waiting jobs are, in the turn that it had from the first.
local function wait_in_turn(id, queue, caller)
  local turn = field(id, 'turn')
  redis.call('ZADD', key.waiting(queue, caller), turn, id)
  redis.call('ZADD', key.queued(queue), turn, id)
  take_turns(queue, caller)
end

-- Has a released job wait again; one that is not released stays where it is.
local function step_back(id, queue, caller)
  if not redis.call('ZSCORE', key.line(queue), id) then return end
  give_up(id, queue, caller)
  wait_in_turn(id, queue, caller)
end

-- Jobs of a caller that are queued, in all queues: those in the table and those released and unclaimed. Counted where
-- they are, for a counter beside them could go astray.
local function count_queued(caller)
  local sum = 0
  for _, queue in ipairs(redis.call('SMEMBERS', key.queues)) do
    sum = sum + redis.call('ZCARD', key.waiting(queue, caller)) + redis.call('ZCARD', key.turns(queue, caller))
      + redis.call('SCARD', key.later_of(queue, caller))
  end
  return sum
end

-- When it is due that a job has expired while it waited, the reconciler ends it.
local function note_deadline(id)
  local due
  for _, moment in ipairs({field(id, 'start_by') or '', field(id, 'end_by') or ''}) do
    moment = tonumber(moment)
    if moment and (not due or moment < due) then due = moment end
  end
  if due then redis.call('ZADD', key.deadlines, seconds(due), id) end
end
