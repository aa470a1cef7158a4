-- DEAD: leased -> dead letter. A batch.
-- KEYS  places, then the log keys
-- ARGV  1 log TTL s, 2 consumer, then for each job: entry id, jid, body,
--       index of its log key in KEYS (0: none), field, record
-- Output for each job 1 dead, 0 not held any more
-- Crash before: the lease runs out, another worker gets the job. Crash after,
-- reply lost: sent again it answers 0. Only the holder may.
check()
local t = now()
local out = {}
for i = 3, #ARGV, 6 do
  local eid, jid, key = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 3])
  if own(ARGV[2], eid) then
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
