-- Adds a batch to a tenant's ledger, once. See usage.py.
--   KEYS  mark of the batch, one hash a day...
--   ARGV  echo, lifetime of the mark in ms, lifetime of a day in ms, how many figures a day has, then their names..., then
--         the figures of each day...
--   gives echo

if redis.call("SET", KEYS[1], "1", "NX", "PX", ARGV[2]) then
  local width = tonumber(ARGV[4])
  for day = 2, #KEYS do
    for i = 1, width do
      local figure = ARGV[4 + width * (day - 1) + i]
      if figure ~= "0" then redis.call("HINCRBY", KEYS[day], ARGV[4 + i], figure) end
    end
    redis.call("PEXPIRE", KEYS[day], ARGV[3])
  end
end
return {ARGV[1]}
