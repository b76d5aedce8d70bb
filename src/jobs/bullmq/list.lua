--[[
  Lists entries of a queue in the order of their seqs. Costs what it answers, at any length of the queue.

  ARGV[1]  prefix
  ARGV[2]  queue
  ARGV[3]  id, or ''
  ARGV[4]  '1': of the group in ARGV[5] only
  ARGV[5]  group
  ARGV[6]  seq beyond which the list begins, or ''
  ARGV[7]  '1': in descending order
  ARGV[8]  how many at most
  ARGV[9…] states

  Returns entries.
]]
local prefix, queue, id, ofGroup, group, after = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1', ARGV[5], ARGV[6]
local descending, limit = ARGV[7] == '1', tonumber(ARGV[8])
local found = {}

if id ~= '' then
  local entry = read(prefix, queue, id)
  if not entry or (ofGroup and entry[4] ~= group) then return found end
  local seq = tonumber(entry[3])
  if after ~= '' and ((descending and seq >= tonumber(after)) or (not descending and seq <= tonumber(after))) then return found end
  for at = 9, #ARGV do
    if ARGV[at] == entry[5] then return {entry} end
  end
  return found
end

-- Entries of no group are found among all of them.
local suffix = (ofGroup and group ~= '') and ':' .. group or ''
for at = 9, #ARGV do
  local key = keyOf(prefix, queue, 'by:' .. ARGV[at] .. suffix)
  local from, many = after, 0
  repeat
    local page = descending
      and redis.call('ZREVRANGEBYSCORE', key, from == '' and '+inf' or '(' .. from, '-inf', 'WITHSCORES', 'LIMIT', 0, limit)
      or redis.call('ZRANGEBYSCORE', key, from == '' and '-inf' or '(' .. from, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
    for index = 1, #page, 2 do
      if not ofGroup or group ~= '' or redis.call('HGET', keyOf(prefix, queue, page[index]), 'group') == '' then
        found[#found + 1] = {tonumber(page[index + 1]), page[index]}
        many = many + 1
      end
    end
    from = page[#page]
  until many >= limit or #page < 2 * limit
end
table.sort(found, function(a, b)
  if descending then return a[1] > b[1] end
  return a[1] < b[1]
end)
local entries = {}
for index = 1, math.min(limit, #found) do entries[index] = read(prefix, queue, found[index][2]) end
return entries
