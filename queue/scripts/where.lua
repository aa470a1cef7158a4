-- WHERE: in which place a job is. Reads only.
-- KEYS  places
-- ARGV  1 jid
-- Output {state, score, meta or '', job, deliveries}, or {''} if it is in none.
--        score: due ms of a delayed job, died ms of a dead one
local jid = ARGV[1]
for _, eid in ipairs({redis.call('HGET', MOVED, jid) or jid, jid}) do
  local e = redis.call('XRANGE', JOBS, eid, eid)
  if #e > 0 then
    local field = {meta = '', job = ''}
    for i = 1, #e[1][2], 2 do field[e[1][2][i]] = e[1][2][i + 1] end
    local p = redis.pcall('XPENDING', JOBS, GROUP, eid, eid, 1)
    if p.err or #p == 0 then return {'ready', '0', field.meta, field.job, 0} end
    return {'running', '0', field.meta, field.job, p[1][4]}
  end
end
local body = redis.call('HGET', BODY, jid)
if not body then return {''} end
local cut = string.find(body, '\n', 1, true)
local meta, job = string.sub(body, 1, cut - 1), string.sub(body, cut + 1)
local score = redis.call('ZSCORE', DUE, jid)
if score then return {'delayed', score, meta, job, 0} end
score = redis.call('ZSCORE', DEAD, jid)
if score then return {'dead', score, meta, job, 0} end
return {'parked', '0', meta, job, 0}
