//! The table of support topics: `= name: words`, `? question`, `- fact with {right|wrong}` detail.

pub(super) const TABLE: &str = "
= returns: return, send back, sent back
? How do I return an item?
? Can I send back shoes that do not fit?
- A return can be started within {30 days|14 days} of delivery.
- Items must be {unworn and with their tags|in any condition}.
- The label is printed from {the Orders page|the parcel shop}.
- Postage for a return is {free within the country|charged at 9 euros}.

= refunds: refund, money back
? When will I get my refund?
? Where is my money back for the cancelled order?
- Refunds are issued {within 5 working days|after 6 weeks} of the parcel reaching us.
- The money goes to {the card you paid with|a store voucher}.
- Your bank may need {another 3 days|another month} to show it.
- The original shipping fee is {refunded only for faulty goods|always refunded}.

= delivery time: how long does delivery, will my parcel arrive, delivery time, when will it arrive
? How long does delivery take?
? When will my parcel arrive?
- Standard delivery takes {2 to 4 working days|10 to 12 working days}.
- Express orders placed {before 2 pm|before 9 pm} leave the same day.
- Islands and mountain villages need {2 days more|a week less}.
- We deliver {from Monday to Saturday|every day of the week}.

= shipping cost: shipping cost, postage, delivery fee, cost of shipping
? What is the shipping cost for small orders?
? Do I pay postage on every parcel?
- Orders above {40 euros|15 euros} ship for nothing.
- Below that, the fee is {4.90 euros|1.50 euros}.
- Express adds {8 euros|2 euros} at checkout.

= tracking: track, tracking
? How can I track my parcel?
? My tracking number does not work, what now?
- The tracking link comes by e-mail {once the parcel leaves the warehouse|right after payment}.
- A new number needs {up to 12 hours|up to 10 minutes} to become active.
- You also find it under {Orders, then Details|Account, then Profile}.
- If nothing moves for {5 days|2 minutes}, we open a search with the carrier.

= lost parcel: is lost, got lost, missing, never came, stolen
? My parcel is lost, what can you do?
? It says delivered but the package never came. Is it missing?
- Please look {with neighbours and at the drop-off point|in your spam folder} first.
- Report it {within 14 days|within 2 years} of the stated delivery.
- The carrier's search takes {up to 8 working days|up to 3 months}.
- After that you choose {a replacement or your money|a discount code}.

= damaged goods: damaged, broken, cracked, faulty
? The vase arrived broken.
? What should I do about a damaged product?
- Send a photo of {the item and the box|your identity card}.
- Tell us {within 7 days|within 1 hour} of delivery.
- You {may keep the item|must destroy the item} until we have answered.
- A replacement leaves {on the next working day|in about a month}.

= wrong item: wrong item, not what i ordered, wrong size, wrong colour
? You sent me the wrong item.
? This is not what I ordered, the box has the wrong colour inside.
- We are sorry and send the right one {at our cost|for a small fee}.
- Put the wrong one in {the same box|a new box} with the label we mail you.
- The label stays valid for {21 days|2 days}.

= cancel order: cancel my order, cancel an order, cancel order, stop my order
? Can I cancel my order?
? How do I cancel an order I placed this morning?
- An order can be cancelled {until it is packed|at any time}.
- Use the button {Cancel on the Orders page|Delete on the Profile page}.
- The payment is released {within 2 days|after 30 days}.
- If it already left, {refuse the parcel at the door|pay a fee at the door}.

= change address: change the address, delivery address, moved, new address
? Can I change the address of an order?
? I moved, how do I set a new address?
- The address can be changed {before the parcel is packed|even after dispatch}.
- New addresses are added under {Account, then Addresses|Settings, then Language}.
- Parcels on their way can be sent {to a pickup point|to another country} instead.

= password reset: password
? I forgot my password.
? The password reset e-mail does not come.
- Choose {Forgot password on the sign-in page|New account on the start page}.
- The link in the e-mail works for {60 minutes|7 days}.
- Look in the spam folder for {mail from accounts@|mail from newsletter@} our domain.
- A new one needs {at least 12 characters|exactly 6 digits}.

= two-factor: two-factor, authenticator, verification code, 2fa
? How do I switch on two-factor sign-in?
? I lost my phone with the authenticator app.
- It is found under {Security, then Sign-in|Payments, then Cards}.
- Any app that shows {six-digit codes|QR photos} works.
- Keep the {ten recovery codes|single master code} somewhere safe.
- Without them, support restores access {after checking your identity|right away by phone}.

= locked account: locked, blocked, suspended
? Why is my account locked?
? My account got blocked after several tries.
- It locks after {five wrong tries|two wrong tries} in a row.
- It opens by itself {after 30 minutes|after 3 days}.
- You can open it sooner with {the link in our e-mail|a letter by post}.

= delete account: delete my account, close my account, erase
? How do I delete my account?
? Please close my account and erase everything.
- Go to {Privacy, then Delete account|Orders, then Archive}.
- You have {14 days to change your mind|no way to change your mind}.
- Invoices are kept {for 10 years by law|for 1 month}.
- Unused points {expire at once|are paid out}.

= invoices: invoice, receipt, vat
? Where do I find the invoice?
? I need a receipt with my VAT number.
- Invoices are under {Orders, then Documents|Profile, then Messages}.
- They appear {one day after dispatch|one month after dispatch}.
- A VAT number must be added {before you pay|after you pay}.

= payment methods: payment method, pay with, pay by, methods of payment
? Which payment methods do you take?
? Can I pay by bank transfer?
- We take {Visa, Mastercard and PayPal|cheques and cash only}.
- Bank transfers must arrive {within 7 days|within 24 hours}.
- Buying on account is possible {up to 300 euros|up to 5000 euros}.
- Card numbers are {never stored in full|kept for later}.

= failed payment: payment failed, declined, payment was refused, card does not work
? My payment failed, what now?
? The card was declined twice.
- Please check {the limit and the expiry date|the colour} of your card first.
- The basket is kept {for 48 hours|for 5 minutes}.
- Your bank may ask you to {confirm in its app|visit a branch}.
- A reserved amount is {freed within 5 days|lost}.

= double charge: charged twice, double charge, charged two times, duplicate charge
? I was charged twice for one order!
? There is a duplicate charge on my statement.
- One of the two is usually {a reservation that is never collected|a second order}.
- It vanishes {within 3 to 5 working days|within 2 to 3 months}.
- If it stays, send us {a screenshot of your statement|your card number}.

= subscription: subscription, membership, renew
? How does the subscription renew?
? Can I pause my membership?
- It renews {every month on the day you joined|every year in January}.
- You can pause it {for up to 3 months|for up to 2 years}.
- Ending it takes effect {at the end of the paid month|at once without money back}.
- We remind you {3 days before|the day after} each renewal.

= upgrade plan: upgrade, premium plan, business plan, switch plan
? What do I get if I upgrade to the premium plan?
? Can I switch plan in the middle of a month?
- The bigger plan has {ten seats|two seats} and priority support.
- You pay {only the difference for the days left|the full price again}.
- Going back down is possible {from the next month on|never}.

= discount codes: discount, coupon, promo, voucher code
? My discount code does not work.
? Can I use two promo codes at once?
- Only {one code per order|three codes per order} is accepted.
- Codes do not apply to {gift cards and sale items|shoes and jackets}.
- The code goes into the field {below the basket total|on the home page}.
- Most codes end {after 30 days|after 1 day}.

= gift cards: gift card
? How long is a gift card valid?
? Can I get cash for a gift card?
- A gift card is valid {for 3 years|for 6 months}.
- It {cannot be turned into cash|can be turned into cash}.
- The rest of its value {stays on the card|is lost}.
- It can be used {together with another payment|only alone}.

= loyalty points: points, loyalty, rewards
? How do I use my loyalty points?
? When do my points expire?
- You earn {1 point per euro|10 points per euro}.
- From {200 points|20 points} you can pay with them.
- They expire {24 months after you earned them|at the end of each week}.

= warranty: warranty, guarantee
? How long is the warranty?
? Is a scratched screen covered by the guarantee?
- Every product is covered {for 2 years|for 6 weeks}.
- Wear and {accidental damage are not covered|accidental damage are covered}.
- Keep {the order number|the plastic wrapping} as proof.
- Repairs take {about 10 working days|about 6 months}.

= exchange: exchange, swap, different size
? Can I exchange this for a different size?
? I would like to swap a jacket for another colour.
- An exchange is free {once per order|any number of times}.
- Pick the new size {on the returns form|by phone only}.
- The new item is {held for 10 days|not held} while yours travels.

= out of stock: out of stock, sold out, back in stock, available again
? When will the lamp be back in stock?
? The blue one is sold out, will it be available again?
- Press {Remind me on the product page|Buy now on the product page}.
- Most things come back {within 3 weeks|within 1 year}.
- Items marked {Last chance|New} do not come back.
- We do not {take orders in advance|sell other colours} for them.

= store hours: opening hours, open on, close today, store hours
? What are your store hours?
? Are the shops open on Sunday?
- Shops are open {from 9 to 19 o'clock|from 12 to 16 o'clock} on weekdays.
- On Saturday they close {at 17 o'clock|at 22 o'clock}.
- On Sunday {all shops are closed|all shops are open}.

= pickup: pick up, pickup, collect in
? Can I collect in store?
? How long is my pickup order kept?
- Pickup is ready {in 2 hours|in 6 days} if the shop has it.
- We keep it {for 7 days|for 1 day}.
- Bring {the code from the e-mail|your passport and a witness}.
- Someone else may fetch it {with that code|only with a lawyer}.

= international: abroad, international, customs, another country
? Do you ship abroad?
? Who pays customs for an international order?
- We ship to {27 countries|3 countries} in Europe and to Canada.
- Duties are {paid by the customer|paid by us} outside the union.
- Parcels abroad need {5 to 9 working days|1 to 2 working days}.
- Batteries {cannot be sent by air|are always sent by air}.

= privacy: personal data, privacy, gdpr, what do you know about me
? Which personal data do you store?
? I want a copy of my data under the GDPR.
- You can download a copy under {Privacy, then Export|Orders, then Print}.
- It is ready {within 72 hours|within 1 year}.
- We {do not sell data to anyone|sell data to partners}.
- Questions go to {our data protection officer|the newsletter team}.

= newsletter: newsletter, unsubscribe, marketing mail
? How do I unsubscribe from the newsletter?
? I still get marketing mail after opting out.
- The link is {at the bottom of each mail|on the back of the invoice}.
- It takes {up to 48 hours|up to 60 days} to have effect.
- Mails about your orders {still arrive|stop as well}.

= app trouble: app crashes, app does not, the app
? The app crashes when I open it.
? The app does not show my orders.
- Please update to {version 5.2 or later|version 3.1 or earlier}.
- Then clear the cache under {Settings, then Storage|Photos, then Albums}.
- It needs {Android 10 or iOS 16|any phone since 2008}.
- Sign in with {the same e-mail as on the website|a new e-mail each time}.

= speak to a person: human, real person, phone number, speak to someone, call you
? Can I talk to a real person?
? What is your phone number? I want to speak to someone.
- The phone line is staffed {from 8 to 20 o'clock|at night only}.
- Chat answers {in about 3 minutes|in about 3 days}.
- Have your {order number at hand|card code at hand}.
";
