#!lua flags=allow-oom
-- Note where running jobs are. Answers for each whether it should go on: see `verdict`.
local answers = {}
for at, each in ipairs(args.reports) do
  answers[at] = verdict(each.job_id, each.token)
  if answers[at] ~= 'fenced' then note_stage(each.job_id, each.stage, each.step, each.steps) end
end
return answers
