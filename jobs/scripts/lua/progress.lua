#!lua flags=allow-oom
-- Note where running jobs are, or tell what they send on their way (`data`, opaque JSON). Answers for each whether it
-- should go on: see `verdict`.
local answers = {}
for at, each in ipairs(args.reports) do
  answers[at] = verdict(each.job_id, each.token)
  if answers[at] ~= 'fenced' then
    if each.data then
      announce(each.job_id, 'data', each.data)
    else
      note_stage(each.job_id, each.stage, each.step, each.steps)
    end
  end
end
return answers
