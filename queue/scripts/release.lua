-- RELEASE: leased -> ready, for jobs that were not begun, or surely not done,
-- when the worker stops. A batch.
-- KEYS  places
-- ARGV  1 consumer, then for each job: entry id, jid, body
-- Output for each job 1 released, 0 not held any more
-- Crash before: the lease runs out. Crash after, reply lost: sent again it
-- answers 0. Only the holder may.
check()
local out = {}
for i = 2, #ARGV, 3 do
  if own(ARGV[1], ARGV[i]) then
    ready(ARGV[i + 1], ARGV[i + 2])
    drop(ARGV[i])
    redis.call('HDEL', MARK, ARGV[i + 1])
    out[#out + 1] = 1
  else
    out[#out + 1] = 0
  end
end
return out
