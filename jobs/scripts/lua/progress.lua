#!lua flags=allow-oom
-- Note where running jobs are, or publish the data that they send (`data`, opaque JSON). Answers for each whether it
-- should go on: see `verdict`. Numbers of data go up within an attempt, and each is published once.
local answers = {}
for at, each in ipairs(args.reports) do
  answers[at] = verdict(each.job_id, each.token)
  if answers[at] ~= 'fenced' then
    if each.data then
      local holder, last = string.match(field(each.job_id, 'sent') or '', '^(%S+) (%d+)$')
      if holder ~= each.token or tonumber(last) < each.number then
        redis.call('HSET', key.job(each.job_id), 'sent', each.token .. ' ' .. string.format('%.0f', each.number))
        announce(each.job_id, 'data', each.data)
      end
    else
      note_stage(each.job_id, each.stage, each.step, each.steps)
    end
  end
end
return answers
