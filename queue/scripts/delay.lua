-- DELAY: leased -> delayed (retry, throttled, hand-back, not_before), or
-- leased -> cancelled if somebody cancelled the job while it ran. A batch.
-- KEYS  places, then the log keys
-- ARGV  1 log TTL s, 2 consumer, then for each job: entry id, jid, delay ms,
--       body, index of its log key in KEYS (0: none), field, record ('': no attempt was made)
-- Output for each job 1 delayed, 2 cancelled, 0 not held any more
-- Crash before: the lease runs out, another worker gets the job. Crash after,
-- reply lost: sent again it answers 0, because the entry is no longer held.
-- Only the holder may: a late failure must not delay a job that another runs.
check()
local t = now()
local out = {}
for i = 3, #ARGV, 7 do
  local eid, jid, body, key, record = ARGV[i], ARGV[i + 1], ARGV[i + 3], tonumber(ARGV[i + 4]), ARGV[i + 6]
  if not own(ARGV[2], eid) then
    out[#out + 1] = 0
  elseif redis.call('HEXISTS', CANCEL, jid) == 1 then
    if record == '' then record = '{"t":' .. string.format('%.0f', t) .. '}' end
    if key > 0 then log(KEYS[key], ARGV[i + 5], 'cancelled', record, ARGV[1]) end
    drop(eid)
    forget(jid)
    out[#out + 1] = 2
  else
    redis.call('HSET', BODY, jid, body)
    redis.call('ZADD', DUE, t + tonumber(ARGV[i + 2]), jid)
    drop(eid)
    forget(jid)
    if key > 0 and record ~= '' then log(KEYS[key], ARGV[i + 5], 'delayed', record, ARGV[1]) end
    out[#out + 1] = 1
  end
end
return out
