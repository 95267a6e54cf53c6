-- Orders of the sample company: 308 transport orders on the 22 working days of September 2025. make_orders.py builds data/orders.db
-- from this file. Every value follows from the row number, so that the table is the same on every machine.
create table orders (
    id       text primary key,   -- O-00001 …
    day      text not null,      -- YYYY-MM-DD
    customer text not null,
    route    text not null,      -- from-to
    pallets  integer not null,
    amount   numeric not null    -- euro
);
create index orders_day on orders (day);

create temp table customers (n integer primary key, name text, price real);
insert into customers values
    (0, 'Brightwater Foods', 31.50), (1, 'Alder & Sons Dairies', 34.20), (2, 'Solmar Seafood', 36.80),
    (3, 'GreenField Produce', 33.10), (4, 'Brightwater Foods', 31.50), (5, 'Kestrel Pharma', 58.40), (6, 'Solmar Seafood', 36.80);

create temp table routes (n integer primary key, name text, factor real);
insert into routes values
    (0, 'Port Ansel-Marrick', 1.00), (1, 'Port Ansel-Fenwold', 1.25), (2, 'Marrick-Osterby', 1.10), (3, 'Fenwold-Port Ansel', 1.20),
    (4, 'Port Ansel-Osterby', 1.45), (5, 'Osterby-Port Ansel', 1.40), (6, 'Marrick-Port Ansel', 1.00), (7, 'Fenwold-Marrick', 1.15),
    (8, 'Port Ansel-Marrick', 1.00), (9, 'Marrick-Fenwold', 1.15), (10, 'Port Ansel-Osterby', 1.45);

with recursive
    numbers (n) as (select 0 union all select n + 1 from numbers where n < 307),
    -- 14 orders a day, Monday to Friday from 1 September 2025: working day w lies w / 5 weeks and w % 5 days later.
    placed as (
        select n, date('2025-09-01', '+' || (n / 14 / 5 * 7 + n / 14 % 5) || ' days') as day,
               (n * 5 + n / 7) % 7 as customer, (n * 7 + n / 11) % 11 as route, 2 + (n * 17 + n / 3) % 31 as pallets
        from numbers
    )
insert into orders
select printf('O-%05d', placed.n + 1), day, c.name, r.name, pallets, round(pallets * c.price * r.factor, 2)
from placed
join customers c on c.n = placed.customer
join routes r on r.n = placed.route
order by placed.n;
