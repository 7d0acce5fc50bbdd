-- A tenant's ledger: the figures of each day, 0 where nothing was written.
--   KEYS  one hash a day...
--   ARGV  echo, then the figures' names...
--   gives echo, then a list of figures a day

local answer, names = {ARGV[1]}, {}
for i = 2, #ARGV do names[#names + 1] = ARGV[i] end
for _, key in ipairs(KEYS) do
  local figures = redis.call("HMGET", key, unpack(names))
  for i = 1, #names do figures[i] = tonumber(figures[i] or 0) end
  answer[#answer + 1] = figures
end
return answer
