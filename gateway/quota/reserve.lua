-- Reservation of one upstream call: checks every window, then charges all or none. See QuotaStore.reserve.
--   KEYS  state hash, record of the reservation
--   ARGV  reservation, time ("" for the server's), known birth ("" for none), birth to give, lifetime of the record in ms,
--         then window and limit, in turn
--   gives reservation, verdict ("ok", "lost" or the window that refused), birth, wait, time, then count and end, in turn
-- A record is "charged <window> <end> ...", "settled", "refunded", or "refused <window> <wait>".

local id, known = ARGV[1], ARGV[3]
local state = redis.call("HMGET", KEYS[1], "born", "last")
local born = state[1]
if not born then
  born = ARGV[4]
  redis.call("HSET", KEYS[1], "born", born)
end
if known ~= "" and known ~= born then return {id, "lost", born, 0, 0} end

local now = clock(ARGV[2], state[2])
local verdict, wait, counts = "ok", 0, {}
local record = redis.call("GET", KEYS[2])
for i = 6, #ARGV, 2 do
  local name, limit = ARGV[i], tonumber(ARGV[i + 1])
  local stored = redis.call("HMGET", KEYS[1], name, name .. ":end")
  local count, stop = counted(stored[1], stored[2], name, now)
  -- Of all windows that are used up the one that ends last is named: then all have room.
  if count >= limit and stop - now > wait then verdict, wait = name, stop - now end
  counts[#counts + 1] = {name, count, stop}
end

if record then
  verdict, wait = string.match(record, "^refused (%a+) (%d+)$")
  if verdict then wait = tonumber(wait) else verdict, wait = "ok", 0 end
elseif verdict == "ok" then
  local changes, charged = {"last", whole(now)}, {"charged"}
  for _, one in ipairs(counts) do
    one[2] = one[2] + 1
    changes[#changes + 1] = one[1]
    changes[#changes + 1] = whole(one[2])
    changes[#changes + 1] = one[1] .. ":end"
    changes[#changes + 1] = whole(one[3])
    charged[#charged + 1] = one[1]
    charged[#charged + 1] = whole(one[3])
  end
  redis.call("HSET", KEYS[1], unpack(changes))
  redis.call("PEXPIRE", KEYS[1], KEEP_MS)
  redis.call("SET", KEYS[2], table.concat(charged, " "), "PX", ARGV[5])
else
  redis.call("SET", KEYS[2], "refused " .. verdict .. " " .. whole(wait), "PX", 5000)
end

local answer = {id, verdict, born, wait, now}
for _, one in ipairs(counts) do
  answer[#answer + 1] = one[2]
  answer[#answer + 1] = one[3]
end
return answer
