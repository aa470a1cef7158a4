-- RECALL: delayed -> ready before its time, for jobs that one lane handed back.
-- KEYS  places
-- ARGV  1 the lane as it stands in the meta of such a job, 2 cursor, '0' at first,
--       3 about how many delayed jobs to look at
-- Output {next cursor, '0' at the end; jobs made ready}
-- Crash before: still delayed. Crash after: already ready, and the next call does
-- not find them. ZSCAN meets each job that is there all the time.
check()
local page = redis.call('ZSCAN', DUE, ARGV[2], 'COUNT', ARGV[3])
local n = 0
for i = 1, #page[2], 2 do
  local jid = page[2][i]
  local body = redis.call('HGET', BODY, jid)
  -- a quote in a text is written \", so that no text can hold ARGV[1]
  if body and string.find(string.sub(body, 1, string.find(body, '\n', 1, true)), ARGV[1], 1, true) then
    ready(jid, body)
    redis.call('HDEL', BODY, jid)
    redis.call('ZREM', DUE, jid)
    n = n + 1
  end
end
return {page[1], n}
