#!lua flags=allow-oom
-- A client reads these jobs: for `watch_s` from now on, their progress is published as it happens. Their workers are notified.
-- Of one that nobody read there may be no event of where it is: there is one then, of what its record says.
-- Repeating it publishes nothing again.
for _, id in ipairs(args.job_ids) do
  local is = look_up(id, {'status', 'owner', 'unseen', 'stage', 'step', 'steps'})
  if is.status == 'queued' or is.status == 'processing' then
    redis.call('HSET', key.job(id), 'watched', seconds(now() + args.watch_s), 'unseen', 0)
    if is.status == 'processing' and is.owner then
      if is.unseen == '1' and is.stage then
        announce(id, 'progress', {stage = is.stage, step = tonumber(is.step), steps = tonumber(is.steps)})
      end
      redis.call('PUBLISH', channel.watched(is.owner), id)
    end
  end
end
return 'done'
