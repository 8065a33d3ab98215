// The buttons "Show All" and "Failed Only" of a gate's page.
function show(succeeded) {
  for (const cell of document.querySelectorAll(".hide-succeeded-validation-target-child"))
    cell.parentElement.hidden = !succeeded;
  for (const block of document.querySelectorAll(
    ".hide-succeeded-validations-column-section-target-child",
  )) {
    const section = block.closest(".ge-section");
    section.hidden = !succeeded;
    for (const link of document.querySelectorAll(`a[href="#${section.id}"]`))
      link.hidden = !succeeded;
  }
}
const showAllValidations = () => show(true);
const hideSucceededValidations = () => show(false);
