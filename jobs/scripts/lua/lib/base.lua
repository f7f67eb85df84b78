-- What every script has: its arguments, the time, a job's fields and events, numbers. jobs/scripts/scripts.py puts this and
-- the other files of lib/ before each, behind the names of jobs/names.py. Job records have the fields of
-- jobs/scripts/fields.py.

-- By name. What is opaque here (specification, images, error …) is a text, and is written as it came.
local args = cjson.decode(ARGV[1])

local EVENTS_MAX = 1000  -- of a job's stream

local RANK = 1e14  -- Rank in front, number behind it: 9 ranks × 10^14 numbers still are whole numbers in a double.

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

local read_at  -- what `now` has answered: a script runs at one moment

-- Redis' clock decides, so that no two machines have to agree on the time. Seconds, to the microsecond.
local function now()
  if not read_at then
    local time = redis.call('TIME')
    read_at = tonumber(time[1]) + tonumber(time[2]) / 1000000
  end
  return read_at
end

local function seconds(value)
  return string.format('%.6f', value)
end

local function field(id, name)
  return redis.call('HGET', key.job(id), name)
end

-- Fields of a job, by name, by one command.
local function look_up(id, fields)
  local found = {}
  for at, value in ipairs(redis.call('HMGET', key.job(id), unpack(fields))) do found[fields[at]] = value or nil end
  return found
end

-- A record as Redis gives it, names and values in turn, by name.
local function by_name(record)
  local found = {}
  for at = 1, #record, 2 do found[record[at]] = record[at + 1] end
  return found
end

-- Has a record as it was read say what was written since: what comes later counts.
local function add_written(record, written)
  for _, each in ipairs(written) do record[#record + 1] = tostring(each) end
end

-- A list as JSON; Lua's own makes an object of an empty one.
local function as_list(ids)
  return #ids == 0 and '[]' or cjson.encode(ids)
end

-- An entry of the job's stream, published to those who listen now. Others read the stream. `data` is a table,
-- or a text that is JSON itself. Where nobody ever read the job, nobody listens for more than its end: `is_quiet`.
local function announce(id, kind, data, is_quiet)
  local text = type(data) == 'string' and data or cjson.encode(data)
  local entry = redis.call('XADD', key.events(id), 'MAXLEN', '~', EVENTS_MAX, '*', 'type', kind, 'data', text)
  if is_quiet then return end
  redis.call('PUBLISH', channel.news(id), entry .. ' ' .. kind .. ' ' .. text)
end

-- Numbers go up, and no two are alike: turns, and the order of submissions and releases.
local function next_number()
  return redis.call('INCR', key.turn)
end

-- What happened in a queue, counted for ever: where it is decided, so that each thing counts once. Answers how often.
local function count(queue, what)
  return redis.call('HINCRBY', key.figures(queue), what, 1)
end

-- Whether Redis is so full that jobs are refused. INFO is not everybody's to ask.
local function is_full(share)
  local memory = redis.pcall('INFO', 'memory')
  if type(memory) ~= 'string' then return false end
  local used, most = string.match(memory, 'used_memory:(%d+)'), string.match(memory, 'maxmemory:(%d+)')
  return used and most and tonumber(most) > 0 and tonumber(used) > share * tonumber(most)
end

-- A message that came through a queue was refused: there may never be a job in it.
local function note_refused(queue)
  redis.call('SADD', key.queues, queue)
  count(queue, 'refused')
end

-- A message from outside is done with: a job was made of it, or it was refused.
local function let_go(tag)
  redis.call('HDEL', key.held, tag)
  redis.call('ZREM', key.held_until, tag)
end

local function is_past(moment)
  return moment and moment ~= '' and now() > tonumber(moment)
end

-- Whether a client has read the job lately: then its progress is published as it happens.
local function is_watched(watched)
  return watched and now() < tonumber(watched)
end
