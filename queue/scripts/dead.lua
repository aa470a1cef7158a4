-- DEAD: leased -> dead letter. A batch.
-- KEYS  places, then the log keys and the dedup keys of jobs that follow
-- ARGV  1 log TTL s, 2 consumer, 3 dedup window ms, 4 dedup TTL ms, then for
--       each job: entry id, jid, body, index of its log key in KEYS (0: none),
--       field, record, a job that becomes ready with it ('': none), index of
--       that job's dedup key in KEYS (0: none)
-- Output for each job 1 dead, 0 not held any more
-- Crash before: the lease runs out, another worker gets the job. Crash after,
-- reply lost: sent again it answers 0. Only the holder may. What follows is
-- written first: a script that breaks after it leaves the old job running.
check()
local t = now()
local out = {}

-- Makes a job ready, unless a job of its id is there already.
local function follow(job, dedup, t)
  if dedup > 0 then
    local was = redis.call('GET', KEYS[dedup])
    if was and t - tonumber(string.match(was, ' (%d+)$')) < tonumber(ARGV[3]) then return end
  end
  local jid = redis.call('XADD', JOBS, '*', 'job', job)
  if dedup > 0 then redis.call('SET', KEYS[dedup], jid .. ' ' .. string.format('%.0f', t), 'PX', ARGV[4]) end
end

for i = 5, #ARGV, 8 do
  local eid, jid, key = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 3])
  if own(ARGV[2], eid) then
    if ARGV[i + 6] ~= '' then follow(ARGV[i + 6], tonumber(ARGV[i + 7]), t) end
    redis.call('HSET', BODY, jid, ARGV[i + 2])
    redis.call('ZADD', DEAD, t, jid)
    drop(eid)
    forget(jid)
    if key > 0 then log(KEYS[key], ARGV[i + 4], 'dead', ARGV[i + 5], ARGV[1]) end
    out[#out + 1] = 1
  else
    out[#out + 1] = 0
  end
end
return out
