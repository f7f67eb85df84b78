#!lua flags=allow-oom
-- Note where running jobs are: id, token, stage, step and steps of each. Answers for each whether it should go on: 'go',
-- 'cancel', 'expired', or 'fenced'. Entering `encode` charges the attempt, once for each claim.
local function report(id, token, stage, step, steps)
  local job = key('job', id)
  local status, holder, cancel, end_by = unpack(redis.call('HMGET', job, 'status', 'token', 'cancel', 'end_by'))
  if status ~= 'processing' or holder ~= token then return 'fenced' end
  if stage == 'encode' and redis.call('HSETNX', job, 'charge:' .. token, 1) == 1 then
    redis.call('HINCRBY', job, 'attempts', 1)
  end
  redis.call('HSET', job, 'stage', stage, 'step', step, 'steps', steps)
  announce(id, 'progress', {stage = stage, step = tonumber(step), steps = tonumber(steps)})
  if cancel then return 'cancel' end
  if is_past(end_by) then return 'expired' end
  return 'go'
end

local answers = {}
for at = 1, #ARGV, 5 do answers[#answers + 1] = report(unpack(ARGV, at, at + 4)) end
return answers
