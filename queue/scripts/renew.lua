-- RENEW: keeps leases, and is the last check before a step that cannot be
-- taken back. Moves nothing. A batch.
-- KEYS  places
-- ARGV  1 consumer, then for each job: entry id, jid, claim ('': set no mark)
-- Output for each job 1 renewed, 0 not held any more, 2 renewed but an
--        earlier claim has left its mark: what it began may have been done
-- Crash at any point: the lease runs from the last renewal.
-- The owner is checked first: XCLAIM alone would steal a lost lease back. The
-- delivery count is set to what it was; some servers raise it even with JUSTID.
check()
local out = {}
for i = 2, #ARGV, 3 do
  local eid, jid, claim = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local p = own(ARGV[1], eid)
  local code = 0
  if p then
    local got = redis.call('XCLAIM', JOBS, GROUP, ARGV[1], 0, eid, 'RETRYCOUNT', p[4], 'JUSTID')
    if #got > 0 then code = 1 end
  end
  if code == 1 and claim ~= '' then
    local mark = redis.call('HGET', MARK, jid)
    if mark and mark ~= claim then code = 2 else redis.call('HSET', MARK, jid, claim) end
  end
  out[#out + 1] = code
end
return out
